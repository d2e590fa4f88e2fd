"""The table's two conditional writes, raced: a new item, and an item that has the record version that was seen."""

from __future__ import annotations

import uuid

from embedding_assets.ledger.ledger import Ledger
from embedding_assets.operations.doctor.check import Check, Finding, Status
from embedding_assets.operations.doctor.race import race
from embedding_assets.operations.doctor.scratch import ScratchItem
from embedding_assets.operations.doctor.table import TABLE

WRITE = "DynamoDB write and read"
DELETE = "DynamoDB delete"
REMEDY = (
    "two merges could hold one lock, a batch could be marked twice; do not use this server, "
    "or a version of it whose conditional writes exclude each other"
)


class Creation:
    """`attribute_not_exists(PK)`, as new batches and a first lock are written."""

    resent = True

    def __init__(self, item: ScratchItem) -> None:
        self._item = item

    def begin(self, number: int) -> None:
        """The item is not there."""
        self._item.delete()

    def write(self, content: str) -> None:
        """Create it."""
        self._item.create(content)

    def stored(self) -> str | None:
        """Whose content it has."""
        return self._item.read()


class Update:
    """A condition on `record_version`, as the lock is taken and renewed."""

    resent = True

    def __init__(self, item: ScratchItem) -> None:
        self._item = item
        self._seen = ""

    def begin(self, number: int) -> None:
        """All writers have seen one record version."""
        self._seen = uuid.uuid4().hex
        self._item.put(self._seen)

    def write(self, content: str) -> None:
        """Change it."""
        self._item.replace(self._seen, content)

    def stored(self) -> str | None:
        """Whose content it has."""
        return self._item.read()


def table_races(ledger: Ledger, item: ScratchItem, rounds: int, writers: int) -> tuple[Check, ...]:
    """An item written, read and deleted; then both races."""

    def write() -> Finding:
        for version in ("first", "then another"):
            item.put(version)
            if item.read() != version:
                return Finding(
                    Status.FAILED, "a consistent read does not give what was just written: do not use this server"
                )
        return Finding(Status.OK, "a consistent read gives what was just written")

    def delete() -> Finding:
        item.delete()
        if item.read() is not None:
            return Finding(Status.FAILED, "a deleted item is still there: do not use this server")
        return Finding(Status.OK, "items are deleted")

    permit = f"on the table {ledger.table}"
    return (
        Check(WRITE, write, f"allow dynamodb:PutItem and dynamodb:GetItem {permit}", (TABLE,)),
        Check(
            DELETE,
            delete,
            f"only these checks delete: allow dynamodb:DeleteItem {permit} to have all of them",
            (WRITE,),
            weight=Status.WARNING,
        ),
        Check(
            "DynamoDB creation race",
            lambda: race(Creation(item), rounds, writers).finding(REMEDY),
            "condition expressions must be understood: use another server",
            (DELETE,),
        ),
        Check(
            "DynamoDB update race",
            lambda: race(Update(item), rounds, writers).finding(REMEDY),
            f"allow dynamodb:UpdateItem {permit}; condition expressions must be understood",
            (WRITE,),
        ),
    )
