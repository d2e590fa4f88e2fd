"""The rows of one table as they are: listed whole, read consistently, changed only by conditional writes.

Each write carries a `write_id` of its own. If its answer is lost and the SDK sends it again, the condition fails
because the first one was applied: the row's `write_id` shows that it was ours.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from embedding_assets.bucket.aws import dynamodb_client, translated
from embedding_assets.errors import PreconditionError, TransientError
from embedding_assets.ledger.batch_summary import (
    OUTSIDE_TEXTS,
    BatchSummary,
    Status,
    parse_row,
)
from embedding_assets.text.bounded_text import bounded

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

INDEX = "GSI1"
GET_AT_ONCE = 100
"""Keys that one BatchGetItem takes."""
GET_TRIES = 8
WRITE_ID = "write_id"
"""The attribute that says which write was the last one."""

serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize

Row = dict[str, Any]


class RowTable:
    """One table of batch summaries, row by row."""

    def __init__(self, table: str, client: DynamoDBClient | None = None) -> None:
        """Through `client`, or else through one of the environment."""
        self.table = table
        self.client = client or dynamodb_client()

    def _update(
        self,
        batch_id: str,
        sets: Mapping[str, object],
        removes: tuple[str, ...],
        condition: str,
        values: Mapping[str, object],
    ) -> BatchSummary | None:
        wanted = {**_within_bounds(sets), WRITE_ID: new_write_id()}
        if "status" in wanted:
            wanted["GSI1PK"] = f"STATUS#{wanted['status']}"
        names = {f"#{name}": name for name in (*wanted, *removes, "status", "generation")}
        bound = {**values, **{f":set_{name}": value for name, value in wanted.items()}}
        expression = "SET " + ", ".join(f"#{name} = :set_{name}" for name in wanted)
        if removes:
            expression += " REMOVE " + ", ".join(f"#{name}" for name in removes)
        try:
            with translated(f"updating batch {batch_id} in table {self.table}"):
                response = self.client.update_item(
                    TableName=self.table,
                    Key={"PK": {"S": f"BATCH#{batch_id}"}, "SK": {"S": "STATUS"}},
                    UpdateExpression=expression,
                    ConditionExpression=condition,
                    ExpressionAttributeNames=names,
                    ExpressionAttributeValues={name: serialize(value) for name, value in bound.items()},
                    ReturnValues="ALL_NEW",
                )
            attributes = _plain(response["Attributes"])
        except PreconditionError:
            written = self._written(batch_id, wanted[WRITE_ID])
            if written is None:
                return None
            attributes = written
        except TransientError:
            written = self._written(batch_id, wanted[WRITE_ID])
            if written is None:
                raise
            attributes = written
        row = parse_row(attributes)
        return row if isinstance(row, BatchSummary) else None

    def _written(self, batch_id: str, write_id: object) -> Row | None:
        """The row as it is if the write of this id was the last one: it was applied and its answer was lost."""
        for row in self._rows([f"BATCH#{batch_id}"]):
            if row.get(WRITE_ID) == write_id:
                return row
        return None

    def _index(self, status: Status, prefix: str, **limits: Any) -> Iterator[Row]:
        with translated(f"listing {status} batches of table {self.table}"):
            pages = self.client.get_paginator("query").paginate(
                TableName=self.table,
                IndexName=INDEX,
                KeyConditionExpression="GSI1PK = :status AND begins_with(GSI1SK, :prefix)",
                ExpressionAttributeValues={":status": {"S": f"STATUS#{status}"}, ":prefix": {"S": prefix}},
                **limits,
            )
            for page in pages:
                for item in page["Items"]:
                    yield _plain(item)

    def _rows(self, partition_keys: Iterable[str]) -> Iterator[Row]:
        keys = list(dict.fromkeys(partition_keys))
        for start in range(0, len(keys), GET_AT_ONCE):
            wanted: Any = [{"PK": {"S": key}, "SK": {"S": "STATUS"}} for key in keys[start : start + GET_AT_ONCE]]
            for attempt in range(GET_TRIES):
                with translated(f"reading batches of table {self.table}"):
                    response = self.client.batch_get_item(
                        RequestItems={self.table: {"Keys": wanted, "ConsistentRead": True}}
                    )
                yield from (_plain(item) for item in response["Responses"].get(self.table, []))
                unprocessed: Any = response.get("UnprocessedKeys", {})
                wanted = unprocessed.get(self.table, {}).get("Keys")
                if not wanted:
                    break
                time.sleep(0.05 * 2**attempt)
            else:
                raise TransientError(f"reading batches of table {self.table}: throttled, keys left unread")


def new_write_id() -> str:
    """What tells one write from all others."""
    return uuid.uuid4().hex


def _within_bounds(values: Mapping[str, object]) -> Row:
    """Texts that come from outside, as long as a row may have them."""
    return {
        name: bounded(value) if name in OUTSIDE_TEXTS and isinstance(value, str) else value
        for name, value in values.items()
    }


def _plain(item: Mapping[str, Any]) -> Row:
    return {key: _deserialize(value) for key, value in item.items()}
