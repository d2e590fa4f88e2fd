"""What a target holds: the item `TARGET#{database}#{name}`, and the right to write to the target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from embedding_assets.bucket.aws import translated
from embedding_assets.ledger.batch_summary import format_instant
from embedding_assets.ledger.lease import Lease
from embedding_assets.processes.process_identity import certainly_gone, own_identity

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef


@dataclass(frozen=True)
class Applied:
    """`version`: the target holds it whole. `applying`: one that was begun and perhaps not finished.

    `address` is where it was written to: a target that moved holds nothing yet.
    """

    version: str | None = None
    applying: str | None = None
    address: str | None = None
    applied_at: str | None = None


class TargetRow:
    """The item of one target of one database."""

    def __init__(self, client: DynamoDBClient, table: str, database: str, target: str) -> None:
        self._client = client
        self._table = table
        self._partition = f"TARGET#{database}#{target}"
        self._what = f"the state of target {target} of {database} in table {table}"

    def read(self) -> Applied:
        """What is known; nothing if the target was never written to."""
        with translated(f"reading {self._what}"):
            answer = self._client.get_item(TableName=self._table, Key=self._key("TARGET"), ConsistentRead=True)
        item: dict[str, Any] = answer.get("Item", {})
        names = ("version", "applying", "address", "applied_at")
        return Applied(**{name: item.get(name, {}).get("S") for name in names})

    def begin(self, before: Applied, version: str, address: str) -> None:
        """Note that `version` is about to be written."""
        self._write(Applied(before.version, version, address, before.applied_at))

    def finish(self, version: str, address: str) -> None:
        """Note that the target holds `version` whole."""
        self._write(Applied(version, None, address, format_instant(datetime.now(UTC))))

    def lock(self, lease_seconds: float, on_wait: Callable[[str], None]) -> Lease:
        """The right to write to the target: one process at a time."""
        return Lease(
            self._client,
            self._table,
            (self._partition, "LOCK"),
            name=f"the lock of {self._partition}",
            purpose=own_identity() or "unknown",
            lease_seconds=lease_seconds,
            holder_is_gone=certainly_gone,
            on_wait=on_wait,
        )

    def _write(self, applied: Applied) -> None:
        item = {name: {"S": value} for name, value in vars(applied).items() if value is not None}
        with translated(f"writing {self._what}"):
            self._client.put_item(TableName=self._table, Item={**self._key("TARGET"), **item})

    def _key(self, sort: str) -> dict[str, AttributeValueTypeDef]:
        return {"PK": {"S": self._partition}, "SK": {"S": sort}}
