"""Batches that OpenAI should have finished by now. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from embedding_assets.ledger.batch_summary import BatchSummary

LATE_AFTER = timedelta(hours=20)
"""OpenAI ends a batch within 24 hours: one that goes on for so long will probably expire."""
NAMED = 5
"""Late batches that a warning names."""


def live_since(batch: BatchSummary) -> datetime:
    """When it was submitted, or opened again."""
    return max(batch.submitted_at, batch.reset_at or batch.submitted_at)


def is_overdue(batch: BatchSummary, now: datetime) -> bool:
    """Whether OpenAI should have finished it: 20 hours after it was submitted it is still live.

    What is set aside waits for a person; what is not at OpenAI does not wait for it.
    """
    waits_for_openai = batch.status.live and batch.set_aside is None and batch.at_openai
    return waits_for_openai and now - live_since(batch) > LATE_AFTER


def overdue_warning(batches: Iterable[BatchSummary], now: datetime) -> str | None:
    """One line about those of `batches` that are late, the oldest first; None if none is."""
    late = sorted((batch for batch in batches if is_overdue(batch, now)), key=live_since)
    if not late:
        return None
    named = ", ".join(f"{batch.batch_id} ({_hours(now - live_since(batch))} h)" for batch in late[:NAMED])
    more = f" and {len(late) - NAMED} more" if len(late) > NAMED else ""
    return f"still live: {named}{more}; OpenAI's limit is 24 h"


def _hours(age: timedelta) -> int:
    return int(age.total_seconds() // 3600)
