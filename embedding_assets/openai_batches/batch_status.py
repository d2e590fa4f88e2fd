"""The statuses of OpenAI's batches, and what each means here: one row for each.

A new status is one more row. A status that has no row counts as live, and is shown as OpenAI's own word.
"""

from __future__ import annotations

from dataclasses import dataclass

from embedding_assets.ledger.batch_summary import Status

NO_ANSWER = "no_answer"
"""Code of a request of a completed batch that has no answer."""

NOT_FOUND = "not_found"
"""Our word for the status of a batch that OpenAI does not know."""

REFUSED = "refused"
"""Our word for the status of a batch that OpenAI refuses to show."""


@dataclass(frozen=True)
class Live:
    """OpenAI works on the batch; its row has the status `row` meanwhile."""

    row: Status


@dataclass(frozen=True)
class Ended:
    """OpenAI has finished with the batch.

    `row` is the final status of its row if there are embeddings; without any, COMPLETED becomes FAILED.
    `instant` names the field of OpenAI's object that has the end. `unanswered` is the code of a request without an
    answer; the request can be sent again. `in_files`: OpenAI's error file has lines with this code.
    """

    row: Status
    instant: str | None
    unanswered: str
    in_files: bool = False


BY_OPENAI: dict[str, Live | Ended] = {
    "validating": Live(Status.VALIDATING),
    "in_progress": Live(Status.IN_PROGRESS),
    "finalizing": Live(Status.FINALIZING),
    "cancelling": Live(Status.CANCELING),
    "completed": Ended(Status.COMPLETED, "completed_at", NO_ANSWER),
    "failed": Ended(Status.FAILED, "failed_at", "batch_failed"),
    "expired": Ended(Status.EXPIRED, "expired_at", "batch_expired", in_files=True),
    "cancelled": Ended(Status.CANCELLED, "cancelled_at", "batch_cancelled", in_files=True),
}
"""The statuses of OpenAI's API, in lower case."""

OURS = {
    NOT_FOUND: Ended(Status.FAILED, None, "batch_not_found"),
    REFUSED: Ended(Status.FAILED, None, "batch_refused"),
}
"""Our own words, for batches that OpenAI does not show."""

MEANING: dict[str, Live | Ended] = {**BY_OPENAI, **OURS}

ENDED = {status: meaning for status, meaning in MEANING.items() if isinstance(meaning, Ended)}

END_FIELDS = tuple(meaning.instant for meaning in ENDED.values() if meaning.instant is not None)
"""The fields of OpenAI's object that have the instant at which a batch ended."""

OTHER_SPELLINGS = frozenset({"batch_canceled"})

UNANSWERED_CODES = frozenset(meaning.unanswered for meaning in ENDED.values()) | OTHER_SPELLINGS
"""Codes of requests that nobody tried, or whose answer is gone."""

IN_FILES = frozenset(meaning.unanswered for meaning in ENDED.values() if meaning.in_files) | OTHER_SPELLINGS
"""Codes of lines of an error file whose requests nobody tried."""


def live_status(status: str) -> Status | None:
    """The status of the row of a batch that OpenAI works on; None if it has ended, or nobody knows the status."""
    meaning = MEANING.get(status)
    return meaning.row if isinstance(meaning, Live) else None


def final_status(status: str) -> Status:
    """The status of the row of a batch that ended, with embeddings."""
    return ENDED[status].row if status in ENDED else Status.FAILED


def unanswered_code(status: str) -> str:
    """Code of a request without an answer in a batch of this status."""
    return ENDED[status].unanswered if status in ENDED else NO_ANSWER
