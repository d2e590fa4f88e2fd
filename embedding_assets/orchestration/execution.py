"""Executions: planned from the ledger alone, each with a manifest of its own in the bucket."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import ValidationError

from embedding_assets.databases import Database
from embedding_assets.errors import DamagedError
from embedding_assets.ledger.batch_summary import BatchSummary, format_instant
from embedding_assets.ledger.ledger import Ledger, LiveBatches
from embedding_assets.merge.plan import ExecutionManifest, PlannedBatch, manifest_key
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.openai_batches.survey import Survey, survey
from embedding_assets.services import Services
from embedding_assets.snapshots.store import Store


def ask_openai(services: Services, live: LiveBatches, singles: int | None = None, turn: int = 0) -> Survey:
    """What OpenAI says of the live batches that are not set aside; nothing is written."""
    return survey(
        services.openai,
        live.ready_to_plan,
        concurrency=services.settings.poll_concurrency,
        singles=singles,
        turn=turn,
    )


def enough(found: Survey, min_ready: int, max_wait_seconds: float, now: datetime) -> bool:
    """Whether so many batches are ready, or the one that is ready for the longest has waited so long."""
    if not found.ready or found.oldest_ready_at is None:
        return False
    return len(found.ready) >= min_ready or (now - found.oldest_ready_at).total_seconds() >= max_wait_seconds


def new_execution_id(now: datetime) -> str:
    """`YYYYMMDDTHHMMSSZ-` and 8 hex digits."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


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
    """The manifest of an execution. NotFoundError without one, DamagedError where its count is wrong."""
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


def with_provenance(ledger: Ledger, results: Sequence[PollResult]) -> list[PollResult]:
    """Poll results that each tell their precedence: those of another program take it from their batch's row."""
    incomplete = [result.batch_id for result in results if result.has_delta and result.precedence_at is None]
    rows = ledger.get_many(incomplete)
    return [
        result.model_copy(
            update={
                "precedence_at": rows[result.batch_id].precedence,
                "generation": rows[result.batch_id].generation,
            }
        )
        if result.batch_id in rows and result.precedence_at is None
        else result
        for result in results
    ]
