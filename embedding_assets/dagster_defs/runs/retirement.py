"""What Dagster need not know any more: partitions and runs of finished batches and executions, outputs of ops.

Promise: only Dagster forgets. Rows of the table, values in the bucket and versions stay as they are, so `status`
and `snapshots` know everything that they knew. A batch that is opened again gets its partition again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter

from embedding_assets.bucket.keys import OP_OUTPUTS_PREFIX, run_of_op_output
from embedding_assets.dagster_defs.runs.event_batches import delete_partitions
from embedding_assets.dagster_defs.runs.executions import (
    PARTITION_TAG,
    UNFINISHED,
    executions_of,
    job_name,
)
from embedding_assets.dagster_defs.runs.planning import add_missing, batch_partitions, execution_partitions
from embedding_assets.databases import Database
from embedding_assets.ledger.batch_summary import BatchSummary, parse_instant
from embedding_assets.ledger.ids import planned_at
from embedding_assets.services import Services
from embedding_assets.versions.manifest import read_pointer

AT_ONCE = 1_000
"""Partitions of batches that are looked up and deleted together."""
FINISHED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]


@dataclass(frozen=True)
class Retired:
    """How many of each kind Dagster has forgotten."""

    batches: int
    executions: int
    runs: int
    outputs: int


def retire(
    services: Services, instance: DagsterInstance, database: Database, now: datetime, age: timedelta
) -> Retired:
    """Let Dagster forget what was finished before `now - age`.

    Kept are batches that are live or have no row, the execution of the published version, and whatever an
    unfinished run is about.
    """
    before = now - age
    unfinished = instance.get_runs(RunsFilter(statuses=UNFINISHED))
    batches = _retire_batches(services, instance, database, before)
    executions = _old_executions(services, instance, database, before, unfinished)
    runs = _delete_runs(instance, database, executions, before)
    delete_partitions(instance, execution_partitions(database), executions)
    outputs = _sweep_outputs(services, before, {run.run_id for run in unfinished})
    return Retired(batches, len(executions), runs, outputs)


def _retire_batches(services: Services, instance: DagsterInstance, database: Database, before: datetime) -> int:
    partitions = batch_partitions(database)
    known = instance.get_dynamic_partitions(partitions)
    count = 0
    for start in range(0, len(known), AT_ONCE):
        rows = services.ledger.get_many(known[start : start + AT_ONCE])
        old = [batch_id for batch_id, row in rows.items() if _finished_before(row, before)]
        delete_partitions(instance, partitions, old)
        opened = [row.batch_id for row in services.ledger.get_many(old).values() if row.status.live]
        add_missing(instance, partitions, opened)
        count += len(old) - len(opened)
    return count


def _finished_before(row: BatchSummary, before: datetime) -> bool:
    try:
        ended = parse_instant(row.completed_at) if row.completed_at else row.submitted_at
    except ValueError:
        ended = row.submitted_at
    return not row.status.live and ended < before


def _old_executions(
    services: Services,
    instance: DagsterInstance,
    database: Database,
    before: datetime,
    unfinished: Sequence[DagsterRun],
) -> list[str]:
    pointer = read_pointer(services.store, database)
    needed = set(executions_of(unfinished))
    if pointer is not None:
        needed.add(pointer.manifest.execution_id)
    return [
        execution_id
        for execution_id in instance.get_dynamic_partitions(execution_partitions(database))
        if execution_id not in needed
        for planned in [planned_at(execution_id)]
        if planned is not None
        if planned < before
    ]


def _delete_runs(
    instance: DagsterInstance, database: Database, executions: Sequence[str], before: datetime
) -> int:
    """Delete the finished runs of these executions, with their events."""
    wanted = set(executions)
    old = RunsFilter(job_name=job_name(database), statuses=FINISHED, created_before=before)
    runs = [run for run in instance.get_runs(old) if run.tags.get(PARTITION_TAG) in wanted]
    for run in runs:
        instance.delete_run(run.run_id)
    return len(runs)


def _sweep_outputs(services: Services, before: datetime, unfinished: set[str]) -> int:
    """Delete what ops of runs that are over handed to each other; all databases have theirs in one place."""
    keys = list(_old_outputs(services, before, unfinished))
    services.store.delete(keys)
    return len(keys)


def _old_outputs(services: Services, before: datetime, unfinished: set[str]) -> Iterator[str]:
    for entry in services.store.list(OP_OUTPUTS_PREFIX):
        if entry.last_modified < before and run_of_op_output(entry.key) not in unfinished:
            yield entry.key
