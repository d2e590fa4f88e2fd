"""Manifests of executions: which batches each is about, written into the bucket before anything else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import ValidationError

from embedding_assets.bucket.keys import manifest_key
from embedding_assets.bucket.store import Store
from embedding_assets.databases import Database
from embedding_assets.errors import DamagedError
from embedding_assets.executions.plan import ExecutionManifest, PlannedBatch
from embedding_assets.ledger.batch_summary import BatchSummary, format_instant
from embedding_assets.ledger.ids import new_execution_id


def write_manifest(store: Store, database: Database, batches: Sequence[BatchSummary]) -> ExecutionManifest:
    """Begin an execution over `batches`: write its manifest and return it."""
    now = datetime.now(UTC)
    manifest = ExecutionManifest(
        execution_id=new_execution_id(now),
        database=database.name,
        created_at=format_instant(now),
        total_batches=len(batches),
        batches=tuple(
            PlannedBatch(index=index, batch_id=batch.batch_id, openai_batch_id=batch.openai_batch_id)
            for index, batch in enumerate(batches)
        ),
    )
    store.put(manifest_key(manifest.execution_id), manifest.model_dump_json(indent=2).encode())
    return manifest


def read_manifest(store: Store, execution_id: str) -> ExecutionManifest:
    """The manifest of an execution. NotFoundError without one, DamagedError if its count is wrong."""
    try:
        manifest = ExecutionManifest.model_validate_json(store.get(manifest_key(execution_id)))
    except ValidationError as error:
        raise DamagedError(f"{manifest_key(execution_id)} is not the manifest of an execution") from error
    if manifest.total_batches != len(manifest.batches):
        raise DamagedError(
            f"{manifest_key(execution_id)}: total_batches is {manifest.total_batches}, "
            f"but {len(manifest.batches)} are listed"
        )
    return manifest
