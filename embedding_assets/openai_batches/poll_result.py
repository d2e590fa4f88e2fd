"""What one poll of a batch found: the value of `poll_results`, and the rows of `errors.jsonl`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, computed_field, field_validator

from embedding_assets.ledger.batch_summary import Status
from embedding_assets.openai_batches.batch_status import final_status
from embedding_assets.openai_batches.output import Reason
from embedding_assets.openai_batches.retry import can_help
from embedding_assets.text.bounded_text import bounded
from embedding_assets.text.redaction import redacted

Action = Literal["process_results", "process_partial", "wait", "handle_failure", "error"]


MOST_CODES = 10
"""Codes that a poll result counts."""
EXAMPLES = 3
"""Ids that it has of each."""


class RequestError(BaseModel):
    """One request without an embedding, as a line of `errors.jsonl`."""

    model_config = ConfigDict(frozen=True)

    id: str
    reason: Reason
    code: str
    message: str
    status_code: int | None = None

    @computed_field  # type: ignore[prop-decorator]  # as pydantic's documentation has it
    @property
    def retryable(self) -> bool:
        """Whether sending the request again can help."""
        return can_help(self.reason, self.code, self.status_code)


def read_errors(data: bytes) -> list[RequestError]:
    """The lines of an `errors.jsonl`. Raises pydantic's ValidationError if one is broken."""
    return [RequestError.model_validate_json(line) for line in data.splitlines()]


class CodeCount(BaseModel):
    """How many requests of a batch have no embedding for one code, and the ids of some."""

    model_config = ConfigDict(frozen=True)

    code: str
    count: int
    examples: tuple[str, ...]


def count_codes(errors: Iterable[RequestError]) -> tuple[CodeCount, ...]:
    """The most frequent codes, the most frequent first."""
    ids: dict[str, list[str]] = {}
    for error in errors:
        ids.setdefault(error.code, []).append(error.id)
    ordered = sorted(ids.items(), key=lambda item: -len(item[1]))[:MOST_CODES]
    return tuple(CodeCount(code=code, count=len(of), examples=tuple(of[:EXAMPLES])) for code, of in ordered)


class PollResult(BaseModel):
    """One batch as polled. requested = embedding_count + failed_count + unfinished_count.

    `batch_status` is OpenAI's own word, `not_found` where OpenAI does not know the batch. `delta_key` ends in
    `/` and is None without embeddings. `unknown_count` and `repeated_count` are answers that were left out:
    to ids that nobody asked for, and further ones to an id already answered. `deletion_count` are records that
    a batch of deletions takes out; it requests nothing. `retryable_count` are those of the failed and unfinished
    that may succeed when they are sent again. `batch_error_code` is the code with which OpenAI failed
    the whole batch, `token_limit_exceeded` say; `codes` are those of its requests without an embedding.
    `kept_status` is the status of a batch that was published before and of which nothing can be had any more: it
    keeps that, and the counts are those of then.
    `published_as` is the version that holds all of the delta already, so that it is not folded again.
    `missing`: OpenAI did not show the batch or one of its files; with `wait` it is looked for again, with
    `handle_failure` it is believed gone. `records_misfit`: `records/` does not fit the row or the answers; once it
    is mended, `reprocess` publishes what is paid for. `output_file_id` is that of OpenAI's output file,
    `finished_at` when OpenAI ended the batch.
    `passing`: the batch could not be polled for a reason that may pass (`action` is `error`); nothing was counted
    against it, and it is planned again.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    batch_id: str
    openai_batch_id: str
    batch_status: str
    action: Action
    results_count: int = 0
    embedding_count: int = 0
    failed_count: int = 0
    unfinished_count: int = 0
    delta_id: str | None = None
    delta_key: str | None = None
    storage: Literal["s3_delta"] = "s3_delta"
    collection: str
    database: str
    model: str | None = None
    dimensions: int | None = None
    processing_time_seconds: float = 0.0
    message: str | None = None
    generation: int = 0
    precedence_at: datetime | None = None
    unknown_count: int = 0
    repeated_count: int = 0
    deletion_count: int = 0
    retryable_count: int = 0
    batch_error_code: str | None = None
    codes: tuple[CodeCount, ...] = ()
    kept_status: Status | None = None
    published_as: str | None = None
    missing: bool = False
    records_misfit: bool = False
    output_file_id: str | None = None
    finished_at: datetime | None = None
    passing: bool = False

    @field_validator("message")
    @classmethod
    def _bounded(cls, value: str | None) -> str | None:
        return None if value is None else bounded(value)

    @field_validator("message")
    @classmethod
    def _without_secrets(cls, message: str | None) -> str | None:
        return None if message is None else redacted(message)

    @property
    def to_fold(self) -> bool:
        """Whether its delta has to be merged: it has one, and the published version does not hold it already."""
        return self.has_delta and self.published_as is None

    @property
    def publishes(self) -> bool:
        """Whether there is anything to merge: embeddings, or deletions."""
        return self.has_delta or (self.deletion_count > 0 and self.action == "process_results")

    @property
    def has_delta(self) -> bool:
        """Whether there are embeddings to merge."""
        return self.delta_key is not None and self.action in ("process_results", "process_partial")

    @property
    def final_status(self) -> Status | None:
        """The status that the row ends with; None while the batch goes on, or could not be polled."""
        if self.action in ("wait", "error"):
            return None
        if self.kept_status is not None:
            return self.kept_status
        status = Status.FAILED if self.records_misfit else final_status(self.batch_status)
        if not self.publishes and status is Status.COMPLETED:
            return Status.FAILED
        return status
