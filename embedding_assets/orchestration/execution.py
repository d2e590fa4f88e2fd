"""Executions: what is ready for one, and what their poll results are completed with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from embedding_assets.ledger.ledger import Ledger, LiveBatches
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.openai_batches.survey import Survey, survey
from embedding_assets.services import Services


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
