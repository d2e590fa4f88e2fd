"""Rows and facts for these tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.operations.facts import BatchFacts, Publication
from embedding_assets.operations.request_errors import ErrorGroup

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
SUBMITTED = NOW - timedelta(hours=2)
EXECUTION = "20260304T110000Z-0123abcd"


def row(status: str = "PENDING", batch_id: str = "b", **values: Any) -> BatchSummary:
    """A row of lines, two hours old."""
    return BatchSummary(
        batch_id=batch_id,
        openai_batch_id=values.pop("openai_batch_id", f"openai-{batch_id}"),
        batch_type=values.pop("batch_type", "LINE_EMBEDDING"),
        status=Status(status),
        submitted_at=values.pop("submitted_at", SUBMITTED),
        **values,
    )


def ended(status: str, embedded: int, failed: int = 0, unfinished: int = 0, **values: Any) -> BatchSummary:
    """A final row with its counts."""
    counts: dict[str, Any] = {"embedded_count": embedded, "failed_count": failed, "unfinished_count": unfinished}
    values = {"request_count": embedded + failed + unfinished, "completed_at": "2026-03-04T11:40:00Z", **values}
    return row(status, **counts, **values)


def polled(action: str, *counts: int, **values: Any) -> PollResult:
    """What a poll found."""
    embedded, failed, unfinished = counts or (0, 0, 0)
    return PollResult(
        batch_id="b",
        openai_batch_id="openai-b",
        batch_status=values.pop("batch_status", "completed"),
        action=action,
        embedding_count=embedded,
        failed_count=failed,
        unfinished_count=unfinished,
        delta_key="lines/delta/x/" if embedded else None,
        collection="lines",
        database="lines",
        **values,
    )


def published(**values: Any) -> Publication:
    """Version 7, in the chain."""
    told: dict[str, Any] = {
        "version": "7-0123456789ab",
        "created_at": NOW - timedelta(minutes=30),
        "execution_id": EXECUTION,
        "in_chain": True,
        "marked": True,
        "without": None,
    }
    return Publication(**{**told, **values})


def facts(of: BatchSummary, **values: Any) -> BatchFacts:
    """Facts about a row; by default nothing else is known."""
    told: dict[str, Any] = {
        "database": "lines",
        "result": None,
        "polled_at": None,
        "artefacts": (),
        "errors": (),
        "publication": None,
        "attempts": (of,),
    }
    return BatchFacts(row=of, **{**told, **values})


def errors(*groups: tuple[int, str, bool]) -> tuple[ErrorGroup, ...]:
    """Groups of (count, code, whether a retry can help)."""
    return tuple(ErrorGroup("failed", code, help_, count, "why", ("id",)) for count, code, help_ in groups)
