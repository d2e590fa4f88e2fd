"""Small deltas of known records, as a poll would have left them in the bucket."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from embedding_assets.bucket.keys import delta_prefix
from embedding_assets.bucket.store import Store
from embedding_assets.chroma.row_source import ARROW_FILE, RowSource, pack
from embedding_assets.databases import LINES, Database
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.rows.arrow import Provenance, RowFile, RowWriter, delta_batch, delta_schema
from embedding_assets.rows.record import metadata_json
from embedding_assets.rows.record_index import SCHEMA, sort_index
from embedding_assets.rows.snapshot_directory import Format, SnapshotManifest, list_files, upload_snapshot
from embedding_assets_tests.reference import Expected, reference_hash

DIMENSIONS = 8
MODEL = "text-embedding-3-small"
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)

Vectors = np.ndarray[tuple[int, int], np.dtype[np.float32]]


def at(hours: float) -> datetime:
    """An instant so many hours after noon."""
    return NOON + timedelta(hours=hours)


def vector(seed: int, dimensions: int = DIMENSIONS) -> tuple[float, ...]:
    """A unit vector of float32 values."""
    drawn = np.random.default_rng(seed).normal(size=dimensions)
    unit = (drawn / np.linalg.norm(drawn)).astype(np.float32)
    return tuple(float(number) for number in unit)


def record(
    record_id: str,
    seed: int = 0,
    document: str | None = "text",
    metadata: dict[str, Any] | None = None,
    dimensions: int = DIMENSIONS,
) -> Expected:
    """One record."""
    return Expected(record_id, vector(seed, dimensions), document, metadata)


def records(prefix: str, count: int, seed: int = 0) -> list[Expected]:
    """Records `{prefix}0`, `{prefix}1`, … that differ in everything."""
    return [
        record(f"{prefix}{number}", seed + number, f"text {seed + number}", {"number": seed + number})
        for number in range(count)
    ]


def matrix(wanted: Sequence[Expected]) -> Vectors:
    """The records' vectors as `(n, dim) float32`."""
    return np.array([one.vector for one in wanted], dtype=np.float32)


def index_of(wanted: list[Expected]) -> pa.Table:
    """The record index of a version that has these records."""
    rows = [
        {
            "id": one.id,
            "hash": reference_hash(one),
            "batch_id": "batch",
            "precedence_at": NOON,
            "input_sha256": None,
            "metadata": metadata_json(one.metadata),
        }
        for one in wanted
    ]
    return sort_index(pa.Table.from_pylist(rows, schema=SCHEMA))


def write_delta(path: Path, wanted: Sequence[Expected]) -> None:
    """Write records as an Arrow delta."""
    with RowWriter(path, delta_schema(len(wanted[0].vector))) as writer:
        writer.write(
            delta_batch(
                [one.id for one in wanted],
                matrix(wanted),
                [one.document for one in wanted],
                [metadata_json(one.metadata) for one in wanted],
                [None for _ in wanted],
            )
        )


def source(
    path: Path, wanted: Sequence[Expected], batch_id: str = "b", precedence: datetime = NOON, generation: int = 0
) -> RowSource:
    """Records as an opened delta of a batch."""
    write_delta(path, wanted)
    file = RowFile(path)
    return RowSource(file, file.dimensions or 0, Provenance(batch_id, precedence, generation))


def poll_result(
    batch_id: str,
    count: int,
    delta_key: str | None,
    *,
    precedence: datetime = NOON,
    generation: int = 0,
    status: str = "completed",
    failed: int = 0,
    unfinished: int = 0,
    database: Database = LINES,
    model: str | None = MODEL,
    dimensions: int | None = DIMENSIONS,
) -> PollResult:
    """What a poll of a batch with so many embeddings would have told."""
    return PollResult(
        batch_id=batch_id,
        openai_batch_id=f"openai-{batch_id}",
        batch_status=status,
        action="process_results" if status == "completed" else "process_partial",
        results_count=count + failed,
        embedding_count=count,
        failed_count=failed,
        unfinished_count=unfinished,
        delta_id=delta_key.split("/")[-2] if delta_key else None,
        delta_key=delta_key,
        collection=database.collection,
        database=database.name,
        model=model,
        dimensions=dimensions,
        generation=generation,
        precedence_at=precedence,
    )


def put_delta(
    store: Store,
    batch_id: str,
    wanted: Sequence[Expected],
    *,
    form: Format = "arrow",
    database: Database = LINES,
    **told: Any,
) -> PollResult:
    """Upload records as the delta of a batch; return the poll result that names it."""
    generation = told.get("generation", 0)
    prefix = f"{delta_prefix(database)}{batch_id}-{generation}-{form}/"
    dimensions = len(wanted[0].vector)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        write_delta(directory / ARROW_FILE, wanted)
        pack(directory, form, database.collection)
        manifest = SnapshotManifest(
            format=form,
            count=len(wanted),
            dimensions=dimensions,
            collection=database.collection,
            files=list_files(directory),
        )
        upload_snapshot(store, directory, prefix, manifest)
    return poll_result(batch_id, len(wanted), prefix, database=database, **{"dimensions": dimensions, **told})
