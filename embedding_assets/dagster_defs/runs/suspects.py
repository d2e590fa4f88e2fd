"""Batches that were there when executions failed: planned alone, so that they do not take the others down.

An execution that fails without naming a batch blames nobody. A batch that was in two such executions becomes a
suspect and is planned alone; three failures of its own, alone or while it was polled, set it aside.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from dagster import DagsterEventType, DagsterInstance, DagsterRunStatus, RunsFilter

from embedding_assets.bucket.store import Store
from embedding_assets.dagster_defs.runs.executions import PARTITION_TAG, job_name
from embedding_assets.databases import Database
from embedding_assets.errors import (
    BatchError,
    ConservationError,
    DamagedError,
    InputError,
    ItemError,
    MismatchError,
    NotFoundError,
)
from embedding_assets.executions.manifest import read_manifest
from embedding_assets.ledger.batch_summary import BatchSummary, parse_instant
from embedding_assets.ledger.ledger import OWN_FAILURES, Ledger

SUSPECT_AFTER = 2
LOOK_BACK = 20
"""Failed runs looked at, the newest ones."""

CONTENT_ERRORS = tuple(
    f"{error.__name__}:" for error in (DamagedError, ConservationError, MismatchError, BatchError, InputError)
)
"""How the line begins that a step fails with where its content is to blame."""

LONG_AGO = datetime.fromtimestamp(0, UTC)


def choose(
    store: Store,
    ledger: Ledger,
    instance: DagsterInstance,
    database: Database,
    ready: Sequence[BatchSummary],
) -> tuple[BatchSummary, ...]:
    """Which of the `ready` batches the next execution is about: all without suspicion, else one suspect.

    Sets aside, with the reason, a suspect that has failed alone often enough.
    """
    failures = _failures(store, instance, database)
    planned: list[BatchSummary] = []
    suspects: list[BatchSummary] = []
    for batch in ready:
        since = batch.reset_at or LONG_AGO
        counted = [failure for failure in failures if batch.batch_id in failure.batches and failure.at >= since]
        own = sum(len(failure.batches) == 1 for failure in counted)
        if own and own + batch.ingest_attempts >= OWN_FAILURES:
            reason = f"{own} executions of this batch alone failed; the runs of {job_name(database)} say why"
            with suppress(ItemError):
                ledger.put_aside(batch.batch_id, batch.generation, reason)
        elif len(counted) >= SUSPECT_AFTER:
            suspects.append(batch)
        else:
            planned.append(batch)
    return tuple(planned or suspects[:1])


@dataclass(frozen=True)
class _Failure:
    """One failed execution: when it was planned, and which batches it was about."""

    at: datetime
    batches: frozenset[str]


def _failures(store: Store, instance: DagsterInstance, database: Database) -> list[_Failure]:
    filters = RunsFilter(job_name=job_name(database), statuses=[DagsterRunStatus.FAILURE])
    failures = []
    for run in instance.get_runs(filters, limit=LOOK_BACK):
        execution_id = run.tags.get(PARTITION_TAG)
        if execution_id is None or not _blames_content(instance, run.run_id):
            continue
        with suppress(NotFoundError, DamagedError):
            manifest = read_manifest(store, execution_id)
            batches = frozenset(planned.batch_id for planned in manifest.batches)
            failures.append(_Failure(parse_instant(manifest.created_at), batches))
    return failures


def _blames_content(instance: DagsterInstance, run_id: str) -> bool:
    """Whether a run failed by what it merged: not by a kill, a signal, a lock, a refusal or the network."""
    records = instance.get_records_for_run(run_id, of_type=DagsterEventType.STEP_FAILURE).records
    for record in records:
        event = record.event_log_entry.dagster_event
        data = event.step_failure_data.user_failure_data if event is not None else None
        if data is not None and data.description and data.description.startswith(CONTENT_ERRORS):
            return True
    return False
