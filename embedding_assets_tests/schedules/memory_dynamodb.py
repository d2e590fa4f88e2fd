"""DynamoDB in memory, as far as the product uses it: conditional writes of items, one lock around each call."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from embedding_assets_tests.schedules.memory_s3 import Pages

Item = dict[str, Any]
Values = Mapping[str, Any]

TOKEN = re.compile(r"attribute_not_exists|AND|OR|IN|[()=,]|[#:]?[A-Za-z_][A-Za-z0-9_]*")


class MemoryDynamoDB:
    """One table, whatever it is called."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, str], Item] = {}
        self._lock = threading.Lock()

    def get_item(self, *, TableName: str, Key: Item, ConsistentRead: bool = False) -> Item:
        """As boto3's."""
        with self._lock:
            found = self._items.get(_key(Key))
        return {} if found is None else {"Item": dict(found)}

    def put_item(self, *, TableName: str, Item: Item, ConditionExpression: str | None = None) -> Item:
        """As boto3's."""
        with self._lock:
            _require(ConditionExpression, self._items.get(_key(Item), {}), {}, {})
            self._items[_key(Item)] = dict(Item)
        return {}

    def delete_item(self, *, TableName: str, Key: Item) -> Item:
        """As boto3's."""
        with self._lock:
            self._items.pop(_key(Key), None)
        return {}

    def update_item(
        self,
        *,
        TableName: str,
        Key: Item,
        UpdateExpression: str,
        ExpressionAttributeNames: Values,
        ExpressionAttributeValues: Values,
        ConditionExpression: str | None = None,
        ReturnValues: str = "NONE",
    ) -> Item:
        """As boto3's, for `SET a = :a, … REMOVE b, …`."""
        names, values = ExpressionAttributeNames, ExpressionAttributeValues
        sets, _, removes = UpdateExpression.removeprefix("SET ").partition(" REMOVE ")
        with self._lock:
            item = dict(self._items.get(_key(Key), Key))
            _require(ConditionExpression, self._items.get(_key(Key), {}), names, values)
            for part in sets.split(", "):
                name, _, value = part.partition(" = ")
                item[names.get(name, name)] = values[value]
            for name in removes.split(", ") if removes else []:
                item.pop(names.get(name, name), None)
            self._items[_key(Key)] = item
        return {"Attributes": dict(item)}

    def batch_get_item(self, *, RequestItems: Item) -> Item:
        """As boto3's."""
        ((table, request),) = RequestItems.items()
        with self._lock:
            found = [dict(self._items[_key(key)]) for key in request["Keys"] if _key(key) in self._items]
        return {"Responses": {table: found}, "UnprocessedKeys": {}}

    def query(
        self,
        *,
        TableName: str,
        IndexName: str,
        KeyConditionExpression: str,
        ExpressionAttributeValues: Values,
        ProjectionExpression: str | None = None,
    ) -> Item:
        """The product's one query: GSI1PK equals, GSI1SK begins with; whole items, or one attribute of each."""
        status, prefix = (ExpressionAttributeValues[name]["S"] for name in (":status", ":prefix"))
        with self._lock:
            found = [
                dict(item)
                for item in self._items.values()
                if item.get("GSI1PK", {}).get("S") == status
                and item.get("GSI1SK", {}).get("S", "").startswith(prefix)
            ]
        found.sort(key=lambda item: str(item["GSI1SK"]["S"]))
        if ProjectionExpression is not None:
            found = [{ProjectionExpression: item[ProjectionExpression]} for item in found]
        return {"Items": found}

    def scan(self, *, TableName: str, ConsistentRead: bool = False) -> Item:
        """As boto3's, all in one page."""
        return {"Items": self.items()}

    def create_table(self, **described: Any) -> Item:
        """There is one already."""
        return {}

    def get_paginator(self, operation: str) -> Pages:
        """As boto3's."""
        return Pages(self, operation)

    def items(self) -> list[Item]:
        """All items."""
        with self._lock:
            return [dict(item) for item in self._items.values()]


def _key(item: Values) -> tuple[str, str]:
    return item["PK"]["S"], item["SK"]["S"]


def _require(condition: str | None, item: Values, names: Values, values: Values) -> None:
    if condition is not None and not _Condition(condition, item, names, values).holds():
        raise ClientError({"Error": {"Code": "ConditionalCheckFailedException", "Message": ""}}, "memory")


class _Condition:
    """A condition over one item: `=`, `IN`, `attribute_not_exists`, AND, OR, parentheses."""

    def __init__(self, text: str, item: Values, names: Values, values: Values) -> None:
        self._tokens = TOKEN.findall(text)
        self._item = item
        self._names = names
        self._values = values

    def holds(self) -> bool:
        """Whether the item fulfils it."""
        holds = self._either()
        assert not self._tokens, f"not understood: {self._tokens}"
        return holds

    def _either(self) -> bool:
        holds = self._both()
        while self._tokens and self._tokens[0] == "OR":
            self._tokens.pop(0)
            holds = self._both() or holds
        return holds

    def _both(self) -> bool:
        holds = self._one()
        while self._tokens and self._tokens[0] == "AND":
            self._tokens.pop(0)
            holds = self._one() and holds
        return holds

    def _one(self) -> bool:
        token = self._tokens.pop(0)
        if token == "(":
            holds = self._either()
            self._expect(")")
            return holds
        if token == "attribute_not_exists":
            self._expect("(")
            name = self._tokens.pop(0)
            self._expect(")")
            return self._names.get(name, name) not in self._item
        stored = self._item.get(self._names.get(token, token))
        operator = self._tokens.pop(0)
        if operator == "=":
            return bool(stored == self._values[self._tokens.pop(0)])
        assert operator == "IN", operator
        self._expect("(")
        allowed = []
        while (token := self._tokens.pop(0)) != ")":
            if token != ",":
                allowed.append(self._values[token])
        return stored in allowed

    def _expect(self, wanted: str) -> None:
        token = self._tokens.pop(0)
        assert token == wanted, f"{token} where {wanted} was expected"
