"""Executions that a passing reason kept from polling anything: how long to wait before the next one.

Such an execution blames no batch and changes no row, so without a pause the same one would be planned at once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter
from pydantic import TypeAdapter, ValidationError

from embedding_assets.bucket.keys import poll_results_key
from embedding_assets.bucket.store import Store
from embedding_assets.dagster_defs.runs.executions import PARTITION_TAG, job_name
from embedding_assets.databases import Database
from embedding_assets.errors import NotFoundError
from embedding_assets.openai_batches.poll_result import PollResult

RESULTS = TypeAdapter(list[PollResult])

FIRST_PAUSE_SECONDS = 30.0
"""After one such execution; twice as long after each further one in a row."""
LONGEST_PAUSE_SECONDS = 600.0
LOOK_BACK = 6
"""Executions looked at, the newest ones."""


def read_results(store: Store, execution_id: str) -> list[PollResult]:
    """What an execution polled. NotFoundError if it did not come so far."""
    return RESULTS.validate_json(store.get(poll_results_key(execution_id)))


def polled_nothing(results: Sequence[PollResult]) -> bool:
    """Whether a passing reason kept batches of an execution from being polled, and no other came further."""
    return any(result.passing for result in results) and all(
        result.passing or result.action == "wait" for result in results
    )


def describe_unpolled(results: Sequence[PollResult]) -> str | None:
    """One line about the batches that could not be polled for a passing reason; None if there are none."""
    unpolled = [result for result in results if result.passing]
    if not unpolled:
        return None
    return (
        f"{len(unpolled)} of {len(results)} batches could not be polled and will be polled again; "
        f"the first: {unpolled[0].batch_id}: {unpolled[0].message}"
    )


def pause_left(store: Store, instance: DagsterInstance, database: Database) -> float:
    """Seconds until the next execution may be planned: 0 unless the newest ones polled nothing."""
    in_a_row = 0
    ended_at: float = 0.0
    ended = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE]
    filters = RunsFilter(job_name=job_name(database), statuses=ended)
    for record in instance.get_run_records(filters, limit=LOOK_BACK):
        execution_id = record.dagster_run.tags.get(PARTITION_TAG)
        if execution_id is None or record.end_time is None:
            break
        try:
            if not polled_nothing(read_results(store, execution_id)):
                break
        except (NotFoundError, ValidationError):
            break
        in_a_row += 1
        ended_at = max(ended_at, record.end_time)
    if not in_a_row:
        return 0.0
    pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** (in_a_row - 1))
    return max(0.0, float(ended_at) + pause - time.time())
