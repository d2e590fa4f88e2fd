"""Sixty batches of two databases with most of what can happen to batches, and what must be published of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from embedding_assets.databases import LINES, WORDS, Database
from embedding_assets.openai_batches.keys import batch_key, records_key
from embedding_assets_tests.deltas import at, record, vector
from embedding_assets_tests.orchestration.world import World, answer_line, error_line, request_line
from embedding_assets_tests.reference import Expected, reference_digest

DATABASES = (LINES, WORDS)
COUNTS = ("embedded_count", "failed_count", "unfinished_count")


@dataclass
class Backlog:
    """The batches as they are put into OpenAI once and into bucket and table before each run."""

    world: World
    published: dict[str, dict[str, Expected]] = field(default_factory=lambda: {"lines": {}, "words": {}})
    rows: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """Status and counts of each batch at the end."""
    names: dict[str, str] = field(default_factory=dict)
    """What the file ids that OpenAI's server drew stand for."""
    _put: list[tuple[str, Database, dict[str, Any]]] = field(default_factory=list)
    _objects: dict[str, bytes] = field(default_factory=dict)

    def plant(self) -> None:
        """Put the batches into OpenAI."""
        for number in range(30):
            self._batch(f"l{number:02}", LINES, answered=3, kept=number % 3 == 0, hours=number)
        for number in range(4):
            self._batch(f"odd{number}", LINES, answered=2, failed=1)
        for number in range(2):
            self._batch(f"late{number}", LINES, answered=1, ids=[f"l0{number}-0"], hours=40)
            self._batch(f"partly{number}", LINES, status="expired", answered=1)
            self._batch(f"nothing{number}", LINES, status="expired")
            self._batch(f"cancelled{number}", LINES, status="cancelled", answered=2)
        self._batch("refused", LINES, status="failed")
        self._batch("going", LINES, status="in_progress")
        self._deletion("gone", ["l05-1", "l06-0", "never there"])
        for number in range(15):
            self._batch(f"w{number:02}", WORDS, answered=2, failed=number % 5 == 0, hours=number)

    def _batch(
        self,
        batch_id: str,
        database: Database,
        *,
        status: str = "completed",
        answered: int = 0,
        failed: int = 0,
        ids: list[str] | None = None,
        kept: bool = False,
        hours: int = 0,
    ) -> None:
        """A batch of three requests, or of `ids`; the first `answered` have embeddings, the next `failed` errors."""
        names = ids or [f"{batch_id}-{number}" for number in range(3)]
        asked = [
            record(name, hash_of(batch_id, name), f"{name} of {batch_id}", {"page": 1} if kept else None)
            for name in names
        ]
        good, bad = asked[:answered], asked[answered : answered + failed]
        body = self.world.server.plant(
            f"openai-{batch_id}",
            status=status,
            input="\n".join(map(request_line, asked)),
            **({"output": "\n".join(map(answer_line, good))} if good else {}),
            **({"errors": "\n".join(map(error_line, bad))} if bad else {}),
            **({"batch_errors": [{"code": "invalid_file", "message": "no"}]} if status == "failed" else {}),
        )
        for kind in ("input", "output", "error"):
            if body[f"{kind}_file_id"]:
                self.names[body[f"{kind}_file_id"]] = f"{kind}-of-{batch_id}"
        if kept:
            lines = [
                json.dumps({"id": one.id, "document": one.document, "metadata": one.metadata}) for one in asked
            ]
            self._objects[records_key(batch_id)] = "\n".join(lines).encode()
        self._put.append((batch_id, database, {"submitted_at": at(hours).isoformat()}))
        self.published[database.name] |= {one.id: one for one in good}
        unfinished = len(asked) - len(good) - len(bad)
        final = {"in_progress": "IN_PROGRESS", "failed": "FAILED"}.get(status, status.upper())
        live = status == "in_progress"
        self.rows[batch_id] = (
            "PENDING" if live else final,
            *((None,) * 3 if live else (len(good), len(bad), unfinished)),
        )

    def _deletion(self, batch_id: str, ids: list[str]) -> None:
        lines = [json.dumps({"id": record_id, "deleted": True}) for record_id in ids]
        self._objects[records_key(batch_id)] = "\n".join(lines).encode()
        row = {"openai_batch_id": "deletion", "deletion_count": len(ids), "submitted_at": at(50).isoformat()}
        self._put.append((batch_id, LINES, row))
        self.rows[batch_id] = ("COMPLETED", 0, 0, 0)
        for record_id in ids:
            self.published["lines"].pop(record_id, None)

    def begin(self) -> None:
        """Empty bucket and table, and put there what was submitted."""
        world = self.world
        world.services.store.delete(world.objects())
        pages = world.dynamodb.get_paginator("scan").paginate(TableName=world.table, ConsistentRead=True)
        for item in [item for page in pages for item in page["Items"]]:
            world.dynamodb.delete_item(TableName=world.table, Key={"PK": item["PK"], "SK": item["SK"]})
        for key, data in self._objects.items():
            world.services.store.put(key, data)
        for batch_id, database, row in self._put:
            world.put_row(batch_id, database, **row)

    def check(self, instance: dg.DagsterInstance) -> None:
        """Nothing is lost, set aside or blamed; rows, bucket and Dagster say the same."""
        rows = {row["batch_id"]: row for row in self.world.rows().values() if "batch_id" in row}
        assert {name: row["set_aside"] for name, row in rows.items() if "set_aside" in row} == {}
        assert {name: row["ingest_attempts"] for name, row in rows.items() if row.get("ingest_attempts")} == {}
        found = {name: (row["status"], *(row.get(count) for count in COUNTS)) for name, row in rows.items()}
        assert found == self.rows
        for database in DATABASES:
            manifest = self.world.published(database)
            expected = self.published[database.name].values()
            assert manifest.total_embeddings == len(expected)
            assert manifest.content_digest == reference_digest(expected)
        final = {name: row[0] for name, row in self.rows.items() if row[0] != "PENDING"}
        assert {name: self.world.json(batch_key(name))["status"] for name in final} == final
        assert {name: status for name, status in reported(instance).items() if name in final} == final


def hash_of(*parts: str) -> int:
    """A seed of a vector that is the same in every process."""
    return int.from_bytes("/".join(parts).encode()[-6:], "big")


def reported(instance: dg.DagsterInstance) -> dict[str, str]:
    """The status of each batch in its newest materialization of `batches`."""
    statuses: dict[str, str] = {}
    for database in DATABASES:
        page = instance.fetch_materializations(
            dg.AssetKey([database.name, "batches"]), limit=10_000, ascending=True
        )
        for one in page.records:
            event = one.asset_materialization
            assert event is not None
            assert event.partition is not None
            statuses[event.partition] = str(event.metadata["status"].value)
    return statuses
