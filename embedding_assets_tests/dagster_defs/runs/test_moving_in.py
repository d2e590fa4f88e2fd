"""A table as the replaced system leaves it is ingested whole, and its own reader goes on reading it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer

from embedding_assets_tests.dagster_defs.runs.world import World
from embedding_assets_tests.deltas import DIMENSIONS, vector
from embedding_assets_tests.reference import Expected, reference_digest

ROWS = 200
READ = ("status", "result_file_id", "receipt_refs", "submitted_at", "openai_batch_id", "batch_type")
"""What the replaced system's reader demands of a row."""


def old_row(number: int) -> dict[str, Any]:
    """A row as that system writes it: without `batch_id`, with its own attributes."""
    batch_id = f"7c1d5c1e-0000-4000-8000-{number:012}"
    return {
        "PK": f"BATCH#{batch_id}",
        "SK": "STATUS",
        "GSI1PK": "STATUS#PENDING",
        "GSI1SK": f"BATCH_TYPE#LINE_EMBEDDING#BATCH_ID#{batch_id}",
        "TYPE": "BATCH_SUMMARY",
        "batch_type": "LINE_EMBEDDING",
        "openai_batch_id": f"openai-{batch_id}",
        "submitted_at": "2026-11-25T10:00:00.000001+00:00",
        "status": "PENDING",
        "result_file_id": "N/A",
        "receipt_refs": [{"image_id": f"img-{number}", "receipt_id": number}],
    }


def test_a_table_of_two_hundred_old_rows(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the records have lists in their metadata. Every row is COMPLETED and has what its reader demands."""
    monkeypatch.setenv("EMBEDDING_ASSETS_LEGACY_ROWS", "1")
    serializer = TypeSerializer()
    records: list[Expected] = []
    before: dict[str, dict[str, Any]] = {}
    for number in range(ROWS):
        row = old_row(number)
        batch_id = row["PK"].removeprefix("BATCH#")
        metadata: dict[str, Any] = {"image_id": f"img-{number}", "line_id": number}
        if number % 2:
            metadata["labels"] = ["TOTAL", f"n{number}"]
        one = Expected(f"line-{number}", vector(number, DIMENSIONS), f"text {number}", metadata)
        world.plant_openai(batch_id, [one])
        line = {"id": one.id, "document": one.document, "metadata": metadata}
        world.services.store.put(f"records/{batch_id}.jsonl", json.dumps(line).encode())
        item = {name: serializer.serialize(value) for name, value in row.items()}
        world.dynamodb.put_item(TableName=world.table, Item=item)
        before[row["PK"]] = row
        records.append(one)
    report = world.ingest()
    assert (report.failures, report.failed, report.refused, len(report.marked)) == ([], [], {}, ROWS)
    manifest = world.published()
    assert (manifest.total_embeddings, manifest.writer) == (ROWS, "direct")
    assert manifest.content_digest == reference_digest(records)
    rows = {key: row for key, row in world.rows().items() if key.startswith("BATCH#")}
    assert {row["status"] for row in rows.values()} == {"COMPLETED"}
    assert all(name in row for row in rows.values() for name in READ)
    assert all(row["receipt_refs"] == before[key]["receipt_refs"] for key, row in rows.items())
    assert len(rows) == ROWS
