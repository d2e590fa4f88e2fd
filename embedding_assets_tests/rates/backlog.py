"""Sixty batches of two databases with most of what can happen to batches, and what must become of them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from embedding_assets.databases import LINES, WORDS, Database
from embedding_assets_tests.dagster_defs.runs.world import answer_line, error_line, request_line
from embedding_assets_tests.deltas import at, record
from embedding_assets_tests.reference import Expected

DATABASES = (LINES, WORDS)
REQUESTS = 3
"""In each batch."""


@dataclass(frozen=True)
class Batch:
    """A batch at OpenAI: the first `answered` requests have embeddings, the next `failed` errors, others nothing.

    If it is `kept`, `records/` has what was requested, with metadata.
    """

    batch_id: str
    database: Database = LINES
    status: str = "completed"
    answered: int = 0
    failed: int = 0
    ids: tuple[str, ...] = ()
    """Of its records; by default its own."""
    kept: bool = False
    hours: int = 0
    deletes: tuple[str, ...] = ()
    """Ids that it deletes: then OpenAI has no part in it."""

    @property
    def records(self) -> list[Expected]:
        """What was requested."""
        ids = self.ids or tuple(f"{self.batch_id}-{number}" for number in range(REQUESTS))
        return [] if self.deletes else [self._record(record_id) for record_id in ids]

    def _record(self, record_id: str) -> Expected:
        text = f"{record_id} of {self.batch_id}"
        return record(record_id, zlib.crc32(text.encode()), text, {"page": 1} if self.kept else None)

    @property
    def embedded(self) -> list[Expected]:
        """What has an embedding."""
        return self.records[: self.answered]

    @property
    def files(self) -> dict[str, str]:
        """Its files at OpenAI, by what they are to the batch."""
        bad = self.records[self.answered : self.answered + self.failed]
        lines = {
            "input": [request_line(one) for one in self.records],
            "output": [answer_line(one) for one in self.embedded],
            "errors": [error_line(one) for one in bad],
        }
        return {name: "\n".join(found) for name, found in lines.items() if found}

    @property
    def kept_records(self) -> bytes | None:
        """What `records/` has of it."""
        if self.deletes:
            lines = [json.dumps({"id": record_id, "deleted": True}) for record_id in self.deletes]
        elif self.kept:
            lines = [
                json.dumps({"id": one.id, "document": one.document, "metadata": one.metadata})
                for one in self.records
            ]
        else:
            return None
        return "\n".join(lines).encode()

    @property
    def row(self) -> dict[str, Any]:
        """Its row, beside the required attributes."""
        deletion = {"openai_batch_id": "deletion", "deletion_count": len(self.deletes)} if self.deletes else {}
        return {"submitted_at": at(self.hours).isoformat(), **deletion}

    @property
    def outcome(self) -> tuple[Any, ...]:
        """Status and counts of its row at the end."""
        if self.status == "in_progress":
            return ("PENDING", None, None, None)
        unfinished = len(self.records) - self.answered - self.failed
        return (self.status.upper(), self.answered, self.failed, unfinished)


@dataclass(frozen=True)
class Backlog:
    """All batches, oldest first: the order in which later ones win."""

    batches: list[Batch] = field(default_factory=lambda: sorted(_all(), key=lambda batch: batch.hours))

    def published(self, database: Database) -> dict[str, Expected]:
        """What the database must publish, by id."""
        found: dict[str, Expected] = {}
        for batch in self.batches:
            if batch.database is database:
                found |= {one.id: one for one in batch.embedded}
                found = {name: one for name, one in found.items() if name not in batch.deletes}
        return found

    def of(self, database: Database) -> Backlog:
        """The batches of one database."""
        return Backlog([batch for batch in self.batches if batch.database is database])


def _all() -> Iterator[Batch]:
    for number in range(30):
        yield Batch(f"l{number:02}", answered=3, kept=number % 3 == 0, hours=number)
    for number in range(4):
        yield Batch(f"odd{number}", answered=2, failed=1)
    for number in range(2):
        yield Batch(f"late{number}", answered=1, ids=(f"l0{number}-0",), hours=40)
        yield Batch(f"partly{number}", status="expired", answered=1)
        yield Batch(f"nothing{number}", status="expired")
        yield Batch(f"cancelled{number}", status="cancelled", answered=2)
    yield Batch("refused", status="failed")
    yield Batch("going", status="in_progress")
    yield Batch("gone", deletes=("l05-1", "l06-0", "never there"), hours=50)
    for number in range(15):
        yield Batch(f"w{number:02}", WORDS, answered=2, failed=number % 5 == 0, hours=number)
