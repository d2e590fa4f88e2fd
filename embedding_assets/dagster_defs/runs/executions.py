"""Runs of an ingestion job on the Dagster instance: which are in flight, and which only look like it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter

from embedding_assets.databases import Database
from embedding_assets.processes.process_identity import TAG, certainly_gone

UNFINISHED = [
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]

PARENT_TAG = "dagster/parent_run_id"
PARTITION_TAG = "dagster/partition"
"""Dagster's own tag: a run of ours is about the execution that its partition is."""


def job_name(database: Database) -> str:
    """Name of the job that ingests into `database`."""
    return f"ingest_{database.name}"


def in_flight(instance: DagsterInstance, database: Database, stall_seconds: float) -> list[DagsterRun]:
    """Unfinished runs of the database's job that are alive; the dead ones are reported failed.

    Dead is a run whose process is certainly gone, or that has logged nothing for `stall_seconds`.
    """
    runs = instance.get_runs(RunsFilter(job_name=job_name(database), statuses=UNFINISHED))
    alive = []
    for run in runs:
        reason = _death(instance, run, stall_seconds)
        if reason is None:
            alive.append(run)
        else:
            instance.report_run_failed(run, f"{reason}; its batches are planned again")
    return alive


def _death(instance: DagsterInstance, run: DagsterRun, stall_seconds: float) -> str | None:
    identity = run.tags.get(TAG)
    if identity is not None and not _inherited(instance, run) and certainly_gone(identity):
        return "the process of this run is gone"
    silent = time.time() - _newest_event(instance, run)
    if silent > stall_seconds:
        return f"this run has logged nothing for {silent:.0f} s"
    return None


def _inherited(instance: DagsterInstance, run: DagsterRun) -> bool:
    """Whether the process is that of the run which this one repeats: Dagster copies the tags."""
    parent_id = run.tags.get(PARENT_TAG)
    parent = instance.get_run_by_id(parent_id) if parent_id else None
    return parent is not None and parent.tags.get(TAG) == run.tags.get(TAG)


def _newest_event(instance: DagsterInstance, run: DagsterRun) -> float:
    """Epoch seconds of the newest event, or of the run's creation if there is none."""
    records = instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
    if records:
        return records[0].timestamp
    record = instance.get_run_record_by_id(run.run_id)
    return record.create_timestamp.timestamp() if record else 0.0


def executions_of(runs: Sequence[DagsterRun]) -> list[str]:
    """The executions that the runs are about."""
    return [run.tags[PARTITION_TAG] for run in runs if PARTITION_TAG in run.tags]
