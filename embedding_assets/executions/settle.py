"""What a poll result means for the row of its batch."""

from __future__ import annotations

from embedding_assets.executions.ending import final_values
from embedding_assets.ledger.batch_summary import BatchSummary
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.openai_batches.batch_status import live_status
from embedding_assets.openai_batches.poll_result import PollResult


def settle_row(ledger: Ledger, row: BatchSummary, result: PollResult, ended_at: str | None = None) -> BatchSummary:
    """A batch without a single embedding gets its final status; one that goes on, OpenAI's live status.

    One that OpenAI does not show is noted as missing; one that it shows again is not missing any more. One that is
    published from before keeps its counts. What a batch that came through had failed is forgotten. `ended_at` is
    the instant at which it ends, by default now.

    Returns the row as it is then.
    """
    if result.action == "error":
        return row
    if result.action == "wait":
        return _go_on(ledger, row, result) or row
    if ledger.legacy_rows and result.output_file_id is not None:
        ledger.note_result_file(row.batch_id, result.output_file_id)
    ending = final_values(result)
    if ending is not None:
        status, values = ending
        if ended_at is not None:
            values["completed_at"] = ended_at
        return ledger.finish(row.batch_id, row.generation, status, values) or _as_it_is(ledger, row)
    if row.ingest_attempts or row.missing_since is not None or row.openai_status is not None:
        return ledger.forget_failures(row.batch_id, row.generation) or row
    return row


def _as_it_is(ledger: Ledger, row: BatchSummary) -> BatchSummary:
    """The row that another process changed meanwhile."""
    return ledger.get_many([row.batch_id]).get(row.batch_id, row)


def _go_on(ledger: Ledger, row: BatchSummary, result: PollResult) -> BatchSummary | None:
    """Note what is new about a live batch that OpenAI has not finished, or does not show; None if nothing is."""
    if result.missing:
        return ledger.note_missing(row, result.message or "OpenAI does not show it")
    live = live_status(result.batch_status)
    if live is None:
        return note_shown(ledger, row, result.batch_status)
    if live is not row.status:
        return ledger.observe(row.batch_id, row.generation, live)
    return note_shown(ledger, row, None)


def note_shown(ledger: Ledger, row: BatchSummary, unknown_status: str | None) -> BatchSummary | None:
    """Note that OpenAI shows a live batch, if that is new: after it was missing, or with a status of its own."""
    if row.missing_since is None and row.openai_status == unknown_status:
        return None
    return ledger.note_shown(row, unknown_status)
