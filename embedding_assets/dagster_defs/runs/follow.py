"""Following a run from outside: what its event log says, as lines for a person."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dagster import DagsterEventType, DagsterInstance, EventLogRecord, RunsFilter

from embedding_assets.dagster_defs.runs.executions import PARTITION_TAG
from embedding_assets.progress import Pace, Progress

INTERVAL_SECONDS = 0.5
PAGE = 1000
STEPS = {
    "execution_poll_results": "all batches polled",
    "chunks": "deltas divided into chunks",
    "intermediate_snapshots": "chunks and groups merged",
    "final_snapshot": "merged and published",
}
"""What has happened when a step is done."""


@contextmanager
def follow(instance: DagsterInstance, execution_id: str, progress: Progress, batches: int) -> Iterator[None]:
    """While the block runs, report how far the run of this execution of so many batches is.

    If its event log cannot be read, by lack of file descriptors say, that is one warning and nothing more.
    """
    ended = threading.Event()

    def run() -> None:
        try:
            _follow(instance, execution_id, progress, ended, Pace(batches, "batches polled"))
        except Exception as error:  # noqa: BLE001 - a thread's boundary: the run goes on without being followed
            if not ended.is_set():
                progress(f"warning: progress is no longer shown: {type(error).__name__}: {error}")

    thread = threading.Thread(target=run, name="follow", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _follow(
    instance: DagsterInstance, execution_id: str, progress: Progress, ended: threading.Event, pace: Pace
) -> None:
    run_id: str | None = None
    cursor: str | None = None
    seen: set[int] = set()
    polled: set[str | None] = set()
    while not ended.wait(INTERVAL_SECONDS):
        if run_id is None:
            runs = instance.get_runs(RunsFilter(tags={PARTITION_TAG: execution_id}), limit=1)
            run_id = runs[0].run_id if runs else None
            continue
        page = instance.get_records_for_run(
            run_id,
            cursor=cursor,
            of_type={DagsterEventType.ASSET_MATERIALIZATION, DagsterEventType.STEP_SUCCESS},
            limit=PAGE,
        )
        cursor = page.cursor
        records = [record for record in page.records if record.storage_id not in seen]
        seen.update(record.storage_id for record in records)
        fresh = {record.partition_key for record in records if _is_poll(record)} - polled
        polled |= fresh
        steps = [line for record in records if (line := _step(record)) is not None]
        for line in [pace.line(len(polled))] * bool(fresh) + steps[-1:]:
            progress(line)


def _is_poll(record: EventLogRecord) -> bool:
    key = record.asset_key
    return key is not None and key.path[-1] == "poll_results"


def _step(record: EventLogRecord) -> str | None:
    event = record.event_log_entry.dagster_event
    if event is None or event.event_type != DagsterEventType.STEP_SUCCESS or event.step_key is None:
        return None
    step, _, part = event.step_key.partition("[")
    if part:
        return f"{part.rstrip(']').replace('_', ' ')} merged"
    name = step.split("__")[-1]
    return STEPS.get(name, f"{name.replace('_', ' ')} done")
