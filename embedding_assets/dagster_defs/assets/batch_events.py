"""The events of a batch for Dagster: its row as an event of `batches`, its poll as one of `poll_results`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

import dagster as dg

from embedding_assets.bucket.keys import (
    batch_key,
    errors_key,
    result_key,
)
from embedding_assets.dagster_defs.markdown import code, codes
from embedding_assets.dagster_defs.runs.event_batches import log_together
from embedding_assets.databases import Database
from embedding_assets.ledger.batch_summary import BatchSummary, format_instant
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.operations.commands import resubmit
from embedding_assets.operations.commands import story as story_of
from embedding_assets.operations.costs import batch_cost, polled_cost
from embedding_assets.services import Services
from embedding_assets.text.usd import MOST_DIGITS

OPENAI_BATCHES = "https://platform.openai.com/batches/"
"""Where OpenAI shows a batch to a person."""
REPORTED_AT_ONCE = 1000
"""Batches that are reported together at most."""
REPORTED_WITHIN_SECONDS = 10.0
"""A batch that comes so long after the last report is reported at once, and with it those that came before."""


@dataclass
class PolledBatches:
    """Batches that were polled, reported to Dagster many at a time, both events of each in their order.

    `cost_usd` is what OpenAI takes for those that ended, None if nothing says that of any; `oldest` is when the
    first of them was submitted.
    """

    services: Services
    database: Database
    context: dg.AssetExecutionContext
    cost_usd: float | None = None
    oldest: datetime | None = None
    _waiting: list[tuple[BatchSummary, PollResult]] = field(default_factory=list)
    _reported_at: float = field(default_factory=time.monotonic)

    def add(self, row: BatchSummary, result: PollResult) -> None:
        """One more batch was polled; `row` is as it is afterwards."""
        self._waiting.append((row, result))
        if result.final_status is not None:
            cost = _cost(self.services, row, result)
            self.cost_usd = self.cost_usd if cost is None else (self.cost_usd or 0.0) + cost
            self.oldest = min(self.oldest or row.submitted_at, row.submitted_at)
        late = time.monotonic() - self._reported_at >= REPORTED_WITHIN_SECONDS
        if late or len(self._waiting) >= REPORTED_AT_ONCE:
            self.report()

    def report(self) -> None:
        """Tell of all that wait."""
        if not self._waiting:
            return
        events = [
            event
            for row, result in self._waiting
            for event in (
                batch_event(self.services, self.database, row),
                poll_event(self.services, self.database, result),
            )
        ]
        log_together(self.context.op_execution_context, events)
        self._waiting.clear()
        self._reported_at = time.monotonic()


@contextmanager
def reported_batches(
    services: Services, database: Database, context: dg.AssetExecutionContext
) -> Iterator[PolledBatches]:
    """Gives what takes the batches as they are polled; at the end of the block, also a bad one, all are reported.

    After a bad one what Dagster does not take is only logged: why the block ended is what counts.
    """
    polled = PolledBatches(services, database, context)
    try:
        yield polled
    except BaseException:
        try:
            polled.report()
        except Exception as error:  # noqa: BLE001 - whatever its storage raises
            context.log.warning(f"the batches polled last are not reported: {type(error).__name__}: {error}")
        raise
    polled.report()


def _cost(services: Services, row: BatchSummary, result: PollResult) -> float | None:
    requested = result.embedding_count + result.failed_count + result.unfinished_count
    return polled_cost(row, result.embedding_count, requested, services.prices)


def batch_event(services: Services, database: Database, row: BatchSummary) -> dg.AssetMaterialization:
    """The row as it is now; it is in the bucket already."""
    metadata: dict[str, dg.MetadataValue] = {
        "status": dg.MetadataValue.text(row.status.value),
        "openai_batch_id": dg.MetadataValue.text(row.openai_batch_id),
        "submitted_at": dg.MetadataValue.text(format_instant(row.submitted_at)),
        "generation": dg.MetadataValue.int(row.generation),
        "table_row": dg.MetadataValue.text(f"{services.settings.table_name} BATCH#{row.batch_id} / STATUS"),
        "s3_location": dg.MetadataValue.path(services.store.uri(batch_key(row.batch_id))),
    }
    if row.at_openai:
        metadata["openai"] = dg.MetadataValue.url(f"{OPENAI_BATCHES}{row.openai_batch_id}")
    counts = (row.embedded_count, row.failed_count, row.unfinished_count)
    if None not in counts:
        names = ("embedded", "failed", "unfinished")
        metadata |= {name: dg.MetadataValue.int(count or 0) for name, count in zip(names, counts, strict=True)}
    texts = {
        "model": row.model,
        "parent_batch": row.parent_batch_id,
        "resubmitted_as": row.resubmitted_as,
        "execution_id": row.execution_id,
        "snapshot_version": row.snapshot_version,
        "acknowledged": row.acknowledged,
    }
    metadata |= {name: dg.MetadataValue.text(text) for name, text in texts.items() if text}
    numbers = {"requests": row.request_count, "tokens": row.token_count, "attempt": row.attempt}
    metadata |= {name: dg.MetadataValue.int(number) for name, number in numbers.items() if number is not None}
    cost = batch_cost(row, services.prices)
    if cost is not None:
        metadata["cost_usd"] = dg.MetadataValue.float(round(cost, MOST_DIGITS))
    if row.error:
        metadata["error"] = dg.MetadataValue.text(row.error)
    if row.set_aside:
        metadata["set_aside"] = dg.MetadataValue.text(row.set_aside)
    return dg.AssetMaterialization(asset_key=[database.name, "batches"], partition=row.batch_id, metadata=metadata)


def _what_is_missing(result: PollResult) -> str | None:
    """Markdown about what has no embedding: how much, and what to do next. None if all is well."""
    without = result.failed_count + result.unfinished_count
    if not without:
        return None
    requested = result.embedding_count + without
    story = (
        f"**{without} of {requested} requests have no embedding**: {requested} requested = "
        f"{result.embedding_count} embedded + {result.failed_count} failed + {result.unfinished_count} unfinished."
    )
    next_command = resubmit(result.batch_id) if result.retryable_count else story_of(result.batch_id)
    helped = (
        f"{result.retryable_count} of them can be sent again" if result.retryable_count else "No retry can help"
    )
    lines = [f"| {one.count} | {code(one.code)} | {codes(one.examples)} |" for one in result.codes]
    table = "\n".join(["| requests | code | for example |", "| ---: | --- | --- |", *lines]) if lines else ""
    return f"{story}\n\n{helped}. Next: `{next_command}`\n\n{table}".rstrip()


def poll_event(services: Services, database: Database, result: PollResult) -> dg.AssetMaterialization:
    """What the poll found."""
    store = services.store
    metadata: dict[str, dg.MetadataValue] = {
        "batch_status": dg.MetadataValue.text(result.batch_status),
        "action": dg.MetadataValue.text(result.action),
        "embedded": dg.MetadataValue.int(result.embedding_count),
        "failed": dg.MetadataValue.int(result.failed_count),
        "unfinished": dg.MetadataValue.int(result.unfinished_count),
        "duration_seconds": dg.MetadataValue.float(result.processing_time_seconds),
        "s3_location": dg.MetadataValue.path(store.uri(result_key(result.batch_id))),
    }
    if result.delta_key:
        metadata["delta"] = dg.MetadataValue.path(store.uri(result.delta_key))
    story = _what_is_missing(result)
    if story is not None:
        metadata["needs_attention"] = dg.MetadataValue.md(story)
    if result.failed_count or result.unfinished_count:
        metadata["errors"] = dg.MetadataValue.path(store.uri(errors_key(result.batch_id)))
    if result.message:
        metadata["message"] = dg.MetadataValue.text(result.message)
    return dg.AssetMaterialization(
        asset_key=[database.name, "poll_results"], partition=result.batch_id, metadata=metadata
    )
