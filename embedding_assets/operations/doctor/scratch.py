"""Where the doctor writes: a prefix of the bucket and an item of the table, both used once and swept."""

from __future__ import annotations

import uuid
from typing import Any

from embedding_assets.bucket.aws import translated
from embedding_assets.bucket.keys import DOCTOR_PREFIX
from embedding_assets.bucket.store import Store
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.operations.doctor.check import Finding, Status

DOCTOR_KEY = "DOCTOR"
NOTHING_WRITTEN = Finding(Status.OK, "nothing was written")


class ScratchPrefix:
    """Keys under a prefix that is used once. Remembers them, so that they go also where listing is refused."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.prefix = f"{DOCTOR_PREFIX}{uuid.uuid4().hex}/"
        self._keys: set[str] = set()

    def key(self, name: str) -> str:
        """A key that something is about to be written at."""
        key = self.prefix + name
        self._keys.add(key)
        return key

    def sweep(self) -> Finding:
        """Delete whatever was written."""
        if not self._keys:
            return NOTHING_WRITTEN
        self.store.delete(sorted(self._keys))
        left = sum(1 for _ in self.store.list(self.prefix))
        if left:
            return Finding(Status.FAILED, f"{left} objects stay under {self.store.uri(self.prefix)}: delete them")
        return Finding(Status.OK, "nothing of these checks is left in the bucket")


class ScratchItem:
    """One item that is used once; its `record_version` is written under the lock's and new batches' conditions."""

    def __init__(self, ledger: Ledger) -> None:
        self._client = ledger.client
        self._table = ledger.table
        self.name = f"{DOCTOR_KEY}#{uuid.uuid4().hex}"
        self._key: Any = {"PK": {"S": self.name}, "SK": {"S": DOCTOR_KEY}}
        self._written = False

    def create(self, record_version: str) -> None:
        """Write the item where it is not. PreconditionError if it is."""
        self._put(record_version, ConditionExpression="attribute_not_exists(PK)")

    def put(self, record_version: str) -> None:
        """Write the item, whatever was there."""
        self._put(record_version)

    def replace(self, seen: str, record_version: str) -> None:
        """Change the item that has `seen`, as a holder renews the lock. PreconditionError if it has another."""
        with translated(f"updating item {self.name} in table {self._table}"):
            self._client.update_item(
                TableName=self._table,
                Key=self._key,
                UpdateExpression="SET record_version = :version",
                ConditionExpression="record_version = :seen",
                ExpressionAttributeValues={":version": {"S": record_version}, ":seen": {"S": seen}},
            )

    def read(self) -> str | None:
        """Its record version, read consistently; None if it is not there."""
        with translated(f"reading item {self.name} of table {self._table}"):
            item = self._client.get_item(TableName=self._table, Key=self._key, ConsistentRead=True).get("Item")
        return None if item is None else item["record_version"]["S"]

    def delete(self) -> None:
        """Take the item away."""
        with translated(f"deleting item {self.name} of table {self._table}"):
            self._client.delete_item(TableName=self._table, Key=self._key)

    def sweep(self) -> Finding:
        """Delete whatever was written."""
        if not self._written:
            return NOTHING_WRITTEN
        self.delete()
        if self.read() is not None:
            return Finding(Status.FAILED, f"item {self.name} stays in table {self._table}: delete it")
        return Finding(Status.OK, "nothing of these checks is left in the table")

    def _put(self, record_version: str, **condition: Any) -> None:
        self._written = True
        with translated(f"writing item {self.name} to table {self._table}"):
            self._client.put_item(
                TableName=self._table, Item={**self._key, "record_version": {"S": record_version}}, **condition
            )
