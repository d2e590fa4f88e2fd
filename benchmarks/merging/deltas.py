"""What polling leaves behind: a delta and a poll result for each batch, in a bucket that is a folder."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from benchmarks.folder_s3 import FolderS3
from benchmarks.records import Records
from embedding_assets.bucket.keys import delta_prefix
from embedding_assets.bucket.store import Store
from embedding_assets.chroma.row_source import ARROW_FILE, pack
from embedding_assets.databases import LINES
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.rows.arrow import RowWriter, delta_batch, delta_schema
from embedding_assets.rows.record import metadata_json
from embedding_assets.rows.snapshot_directory import Format, SnapshotManifest, list_files, upload_snapshot

BUCKET = "bucket"
START = datetime(2026, 1, 2, 12, tzinfo=UTC)
MODEL = "text-embedding-3-small"


def folder_store(folder: Path) -> Store:
    """A store on a bucket that is a folder."""
    client = cast(Any, FolderS3(folder))
    return Store(BUCKET, client, client)


def put_deltas(store: Store, records: Records, batches: int, form: Format, first: int = 0) -> list[PollResult]:
    """Write the records as the deltas of `batches` batches, numbered from `first`; their poll results."""
    return [_put_delta(store, part, first + number, form) for number, part in enumerate(records.split(batches))]


def _put_delta(store: Store, records: Records, number: int, form: Format) -> PollResult:
    dimensions = int(records.vectors.shape[1])
    prefix = f"{delta_prefix(LINES)}{number:05d}-{form}/"
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "delta"
        with RowWriter(directory / ARROW_FILE, delta_schema(dimensions)) as writer:
            metadata = [metadata_json(entry) for entry in records.metadata]
            absent = [None] * len(records.ids)
            writer.write(delta_batch(records.ids, records.vectors, records.documents, metadata, absent))
        pack(directory, form, LINES.collection)
        manifest = SnapshotManifest(
            format=form,
            count=len(records.ids),
            dimensions=dimensions,
            collection=LINES.collection,
            files=list_files(directory),
        )
        upload_snapshot(store, directory, prefix, manifest)
    return PollResult(
        batch_id=f"batch-{number:05d}",
        openai_batch_id=f"batch_{number:05d}",
        batch_status="completed",
        action="process_results",
        results_count=len(records.ids),
        embedding_count=len(records.ids),
        delta_id=prefix.split("/")[-2],
        delta_key=prefix,
        collection=LINES.collection,
        database=LINES.name,
        model=MODEL,
        dimensions=dimensions,
        precedence_at=START + timedelta(seconds=number),
    )
