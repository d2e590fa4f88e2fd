"""How long a batch has been live, and from when on that is late."""

from __future__ import annotations

from datetime import datetime, timedelta

from embedding_assets.ledger.batch_summary import BatchSummary

LATE = timedelta(hours=20)
"""OpenAI is to end a batch within 24 hours; a batch that is live for longer than this is worth a look."""


def live_since(row: BatchSummary) -> datetime:
    """When the batch was submitted, or opened again."""
    return max(row.submitted_at, row.reset_at or row.submitted_at)


def is_late(row: BatchSummary, now: datetime) -> bool:
    """Whether a live batch that may be planned is live for too long."""
    return row.status.live and row.set_aside is None and now - live_since(row) > LATE


def told_age(age: timedelta) -> str:
    """Hours and minutes; an instant in the future is no age."""
    hours, rest = divmod(max(0, int(age.total_seconds())), 3600)
    return f"{hours}h{rest // 60:02d}m"
