"""The life of a batch as a function of the clock: status, instants and counts at a given moment.

A batch spends the first tenth of its latency validating, then is in progress until four fifths of it have
passed, then finalizing (or cancelling). It never shows a status before the work that the status means is
done, so with a latency of 0 it is final as soon as its answers are written.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from embedding_assets.local.openai_files import BATCH_FILE_LIFE_SECONDS
from embedding_assets.local.openai_output import Answers
from embedding_assets.local.openai_plans import BatchError, BatchPlan, BatchStatus

COMPLETION_WINDOW_SECONDS = 86_400
VALIDATED_AFTER = 0.1
WORKED_AFTER = 0.8
CANCELLING_SHARE = 0.2


@dataclass(slots=True)
class Work:
    """What the background thread has done for a batch so far; instants in epoch seconds."""

    total: int = 0
    model: str | None = None
    validated_at: float = math.inf
    errors: tuple[BatchError, ...] = ()
    done_at: float = math.inf
    answers: Answers | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None


@dataclass(slots=True)
class Batch:
    """One batch of the API; `plan` and `work` are replaced together when another plan is set."""

    id: str
    endpoint: str
    input_file_id: str
    completion_window: str
    metadata: dict[str, str] | None
    created_at: float
    latency: float
    plan: BatchPlan
    work: Work = field(default_factory=Work)
    cancel_at: float = math.inf
    output_life_seconds: int = BATCH_FILE_LIFE_SECONDS

    @property
    def hidden(self) -> bool:
        """Whether the API denies knowing it."""
        return self.plan.batch_unknown

    @property
    def is_worked(self) -> bool:
        """Whether its work has ended: nothing will be answered any more."""
        refused = bool(self.work.errors) or self.plan.status == "failed"
        return self.work.done_at < math.inf or (refused and self.work.validated_at < math.inf)

    def history(self, now: float) -> dict[BatchStatus, float]:
        """Every status reached until `now` and since when, in order."""
        reached: dict[BatchStatus, float] = {}
        for status, since in self._milestones():
            if since > now:
                break
            reached[status] = since
            if status == self.plan.hold:
                break
        return reached

    def _milestones(self) -> list[tuple[BatchStatus, float]]:
        work, plan, start = self.work, self.plan, self.created_at
        validated = max(start + VALIDATED_AFTER * self.latency, work.validated_at)
        if work.errors or plan.status == "failed":
            return [("validating", start), ("failed", validated)]
        cancelled = plan.status == "cancelled"
        closing = max(start + WORKED_AFTER * self.latency, work.done_at)
        final = max(start + self.latency, work.done_at)
        if cancelled and self.cancel_at < math.inf:
            closing = self.cancel_at
            final = max(self.cancel_at + CANCELLING_SHARE * self.latency, work.done_at)
        return [
            ("validating", start),
            ("in_progress", min(validated, closing)),
            ("cancelling" if cancelled else "finalizing", closing),
            (plan.status, final),
        ]

    def progress(self, now: float) -> float:
        """Share of the requests that an onlooker would see answered, 0 to 1."""
        begin = self.created_at + VALIDATED_AFTER * self.latency
        whole = (WORKED_AFTER - VALIDATED_AFTER) * self.latency
        if self.work.done_at > now:
            return 0.0
        return 1.0 if whole <= 0 else min(1.0, max(0.0, (now - begin) / whole))

    def view(self, now: float) -> dict[str, Any]:
        """The batch object of the API at `now`."""
        history = self.history(now)
        status = list(history)[-1]
        final = status in ("completed", "failed", "expired", "cancelled")
        with_files = final and status != "failed" and not self.plan.no_output_file
        absent = "" if self.plan.empty_file_ids else None
        since: dict[str, int] = {name: int(instant) for name, instant in history.items()}
        body: dict[str, Any] = {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "model": self.work.model,
            "errors": errors_view(self.work.errors or self.plan.errors) if status == "failed" else None,
            "input_file_id": self.input_file_id,
            "completion_window": self.completion_window,
            "status": status,
            "output_file_id": (self.work.output_file_id if with_files else None) or absent,
            "error_file_id": (self.work.error_file_id if with_files else None) or absent,
            "created_at": int(self.created_at),
            "in_progress_at": since.get("in_progress"),
            "expires_at": int(self.created_at) + COMPLETION_WINDOW_SECONDS,
            "finalizing_at": since.get("finalizing"),
            "completed_at": since.get("completed"),
            "failed_at": since.get("failed"),
            "expired_at": since.get("expired"),
            "cancelling_at": since.get("cancelling"),
            "cancelled_at": since.get("cancelled"),
            "request_counts": self._counts(status, now),
            "usage": usage_view(self.work.answers.tokens if final and self.work.answers else 0),
            "metadata": self.metadata,
        }
        return body | self.plan.fields if final else body

    def _counts(self, status: BatchStatus, now: float) -> dict[str, int]:
        answers = self.work.answers
        if status in ("validating", "failed") or self.work.validated_at > now:
            return {"total": 0, "completed": 0, "failed": 0}
        if answers is None:
            return {"total": self.work.total, "completed": 0, "failed": 0}
        share = self.progress(now) if status == "in_progress" else 1.0
        return {
            "total": self.work.total,
            "completed": math.floor(answers.completed * share),
            "failed": math.floor(answers.failed * share),
        }


def errors_view(errors: tuple[BatchError, ...]) -> dict[str, Any] | None:
    """`errors` of a batch object."""
    if not errors:
        return None
    return {"object": "list", "data": [error.model_dump() for error in errors]}


def usage_view(tokens: int) -> dict[str, Any]:
    """`usage` of a batch object."""
    return {
        "input_tokens": tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 0,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": tokens,
    }
