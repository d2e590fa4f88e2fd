"""Executions: what is ready for one, and what their poll results are completed with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from embedding_assets.executions.settle import note_shown
from embedding_assets.ledger.ledger import Ledger, LiveBatches
from embedding_assets.ledger.overdue import overdue_warning
from embedding_assets.openai_batches.absence import missing_warning
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.openai_batches.survey import Survey, survey
from embedding_assets.services import Services


def ask_openai(services: Services, live: LiveBatches, singles: int | None = None, turn: int = 0) -> Survey:
    """What OpenAI says of the live batches that are not set aside.

    Nothing is written but what is new in the rows of running batches: one that was missing is there again, or one
    has a status that we do not know.
    """
    found = survey(
        services.openai,
        live.ready_to_plan,
        concurrency=services.settings.poll_concurrency,
        singles=singles,
        turn=turn,
        absence=services.absence,
        table=services.ledger,
    )
    for batch in found.running:
        note_shown(services.ledger, batch, found.unknown_status(batch))
    return found


def survey_warnings(found: Survey, now: datetime) -> list[str]:
    """A line each about late and missing batches, and about statuses and entries of the list that are odd."""
    warnings = [overdue_warning(found.running, now), missing_warning(found.missing), *found.warnings]
    warnings += [
        f"OpenAI says {word!r} of batch {batch_id}, which is none of its statuses; the batch stays live"
        for batch_id, word in (found.unknown_statuses or {}).items()
    ]
    return [warning for warning in warnings if warning is not None]


def enough(found: Survey, min_ready: int, max_wait_seconds: float, now: datetime) -> bool:
    """Whether so many batches are ready, or the one that is ready for the longest has waited so long."""
    if not found.ready or found.oldest_ready_at is None:
        return False
    return len(found.ready) >= min_ready or (now - found.oldest_ready_at).total_seconds() >= max_wait_seconds


def with_provenance(ledger: Ledger, results: Sequence[PollResult]) -> list[PollResult]:
    """Poll results that each tell their precedence: those of another program take it from their batch's row."""
    incomplete = [result.batch_id for result in results if result.publishes and result.precedence_at is None]
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
