"""Batches that end without a single embedding: reported first, then ended.

Nothing marks such a batch later, because no version accounts for it. If its row ended first and the process died
before it reported that, nobody would ever report it: the row is final and is not planned again. So its row is
written to the bucket and reported to Dagster as it is going to be, and ends only then. A process that dies in
between leaves a live row, and the next execution does both again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

from embedding_assets.bucket.store import Store
from embedding_assets.ledger.batch_summary import BatchSummary, Status, format_instant
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.versions.mark import keep_row

ENDED_AT_ONCE = 16

OnBatch = Callable[[BatchSummary, PollResult], None]
Settle = Callable[[BatchSummary, PollResult, str | None], tuple[BatchSummary, PollResult]]
"""Settles a row by its poll result and returns both as they are then; the text is the instant of its end."""


def final_values(result: PollResult) -> tuple[Status, dict[str, object]] | None:
    """The final status and attributes of a batch that ends without an embedding; None for any other."""
    status = result.final_status
    if status is None or result.publishes:
        return None
    counted = result.embedding_count + result.failed_count + result.unfinished_count
    values: dict[str, object] = {
        "embedded_count": result.embedding_count,
        "failed_count": result.failed_count,
        "unfinished_count": result.unfinished_count,
        "request_count": counted,
        "retryable_count": result.retryable_count,
    }
    if result.kept_status is not None and not counted:
        values = {}
    if result.message:
        values["error"] = result.message
    return status, values


def as_it_will_be(row: BatchSummary, result: PollResult) -> BatchSummary | None:
    """The row as it will be once the batch has ended; None if it does not end without an embedding."""
    ending = final_values(result)
    if ending is None or not row.status.live:
        return None
    status, values = ending
    gone = {"set_aside": None, "ingest_attempts": 0, "error": None, "missing_since": None, "openai_status": None}
    now = format_instant(datetime.now(UTC))
    return row.model_copy(update={**gone, **values, "status": status, "completed_at": now})


@dataclass
class Endings:
    """The batches of an execution that end without an embedding. `settle` gives a row its final status."""

    store: Store
    settle: Settle
    _waiting: list[tuple[BatchSummary, BatchSummary, PollResult]] = field(default_factory=list)

    def add(self, row: BatchSummary, announced: BatchSummary, result: PollResult) -> None:
        """One more, whose row was reported as it was `announced`."""
        self._waiting.append((row, announced, result))

    def end(self, on_batch: OnBatch) -> dict[str, PollResult]:
        """End all of them, and return their poll results by batch id.

        A row that did not become what was announced is reported again, as it is: another process changed it, or
        DynamoDB does not take it.
        """
        waiting, self._waiting = self._waiting, []
        with ThreadPoolExecutor(ENDED_AT_ONCE) as pool:
            ended = list(pool.map(self._end, waiting))
        for (_, announced, _), (row, result) in zip(waiting, ended, strict=True):
            if row != announced:
                on_batch(row, result)
        return {row.batch_id: result for row, result in ended}

    def _end(self, one: tuple[BatchSummary, BatchSummary, PollResult]) -> tuple[BatchSummary, PollResult]:
        row, announced, result = one
        ended, result = self.settle(row, result, announced.completed_at)
        if ended != announced:
            keep_row(self.store, ended)
        return ended, result


def ended_without_embeddings(ledger: Ledger, batches: Sequence[BatchSummary]) -> list[str]:
    """Of live rows as they were before an execution: the ids of those that ended since and are in no version."""
    rows = ledger.get_many(batch.batch_id for batch in batches)
    return [
        batch.batch_id
        for batch in batches
        if (row := rows.get(batch.batch_id)) is not None
        and not row.status.live
        and row.generation == batch.generation
        and row.snapshot_version is None
        and not row.embedded_count
        and not row.is_deletion
    ]
