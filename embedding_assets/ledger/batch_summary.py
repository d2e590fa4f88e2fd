"""Batch summaries: the rows that track batches, read strictly and refused with a reason where they are wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError, field_validator, model_validator

from embedding_assets.ledger.ids import is_batch_id
from embedding_assets.text.bounded_text import bounded

LARGEST_ITEM = 400 * 1024
"""Bytes that DynamoDB takes at most."""
FULLEST_ROW = LARGEST_ITEM - 12 * 1024
"""A live row of another program that is fuller than this has no room for what we write."""
BYTES_OF_A_NUMBER = 10
LARGEST_NUMBER = 2**53
"""Numbers of a row are below it: they go through JSON and Arrow, where larger ones change or do not fit."""
LARGEST_DIMENSIONS = 2**31
OUTSIDE_TEXTS = frozenset({"error", "set_aside", "acknowledged"})
"""Attributes that hold what others said; they are bounded."""


class Status(StrEnum):
    """Where a batch is. The first five are live: listed for polling. The others are final."""

    PENDING = "PENDING"
    VALIDATING = "VALIDATING"
    IN_PROGRESS = "IN_PROGRESS"
    FINALIZING = "FINALIZING"
    CANCELING = "CANCELING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"

    @property
    def live(self) -> bool:
        """Whether batches of this status are listed for polling."""
        return self in LIVE


LIVE = (Status.PENDING, Status.VALIDATING, Status.IN_PROGRESS, Status.FINALIZING, Status.CANCELING)


DELETION = "deletion"
"""The `openai_batch_id` of a batch of deletions: OpenAI has no part in it."""
LOCAL = "local"
"""The `openai_batch_id` of a batch whose answers are in the bucket: it was never a batch at OpenAI."""


def parse_instant(text: str) -> datetime:
    """An ISO 8601 instant with `Z` or an offset, in UTC. Raises ValueError without either."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError("an instant needs Z or an offset")
    try:
        return instant.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("an instant must lie within the years 1 to 9999") from error


def format_instant(instant: datetime) -> str:
    """ISO 8601 in UTC with `Z`."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


Count = Annotated[int, Field(ge=0, lt=LARGEST_NUMBER)]
StrictCount = Annotated[StrictInt, Field(ge=0, lt=LARGEST_NUMBER)]


class BatchSummary(BaseModel):
    """One row. Attributes of the row that are not ours stay in the table and are not read.

    `request_count` counts records, `sent_count` the requests that were sent for them: records may share one.
    `acknowledged` is the reason why somebody leaves a final batch as it is. `missing_since` is when OpenAI was
    first found not to show the batch or its output. `openai_status` is OpenAI's own word for the status of a live
    batch if it is none that we know. `input_file_expires_at` and `output_file_seconds` are how long OpenAI was
    asked to keep its files; None if nothing was asked.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    batch_id: str
    openai_batch_id: str
    batch_type: str
    status: Status
    submitted_at: datetime
    generation: StrictCount = 0
    precedence_at: datetime | None = None
    model: str | None = None
    dimensions: Annotated[int, Field(ge=0, lt=LARGEST_DIMENSIONS)] | None = None
    request_count: Count | None = None
    sent_count: Count | None = None
    embedded_count: Count | None = None
    failed_count: Count | None = None
    unfinished_count: Count | None = None
    attempt: Count | None = None
    parent_batch_id: str | None = None
    resubmitted_as: str | None = None
    token_count: Count | None = None
    deletion_count: Count | None = None
    retryable_count: Count | None = None
    rebuild: str | None = None
    execution_id: str | None = None
    snapshot_version: str | None = None
    completed_at: str | None = None
    error: str | None = None
    ingest_attempts: StrictCount = 0
    set_aside: str | None = None
    acknowledged: str | None = None
    acknowledged_at: datetime | None = None
    reset_at: datetime | None = None
    missing_since: datetime | None = None
    openai_status: str | None = None
    reopened_from: Status | None = None
    input_file_expires_at: datetime | None = None
    output_file_seconds: Count | None = None

    @field_validator("batch_id")
    @classmethod
    def _safe_key(cls, value: str) -> str:
        if not is_batch_id(value):
            raise ValueError("must be 1 to 128 of [A-Za-z0-9_-] and not of the form of an execution id")
        return value

    @field_validator("openai_batch_id", "batch_type")
    @classmethod
    def _not_empty(cls, value: str) -> str:
        if not value:
            raise ValueError("must not be empty")
        return value

    @field_validator("error", "set_aside", "acknowledged")
    @classmethod
    def _bounded(cls, value: str | None) -> str | None:
        return None if value is None else bounded(value)

    @field_validator(
        "submitted_at",
        "precedence_at",
        "reset_at",
        "acknowledged_at",
        "missing_since",
        "input_file_expires_at",
        mode="before",
    )
    @classmethod
    def _instant(cls, value: object) -> object:
        return parse_instant(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _default_precedence(self) -> BatchSummary:
        if self.precedence_at is None:
            object.__setattr__(self, "precedence_at", self.submitted_at)
        return self

    @property
    def is_deletion(self) -> bool:
        """Whether it takes records out; OpenAI has no part in it."""
        return self.openai_batch_id == DELETION or self.deletion_count is not None

    @property
    def is_local(self) -> bool:
        """Whether its answers are in the bucket: published vectors, or what OpenAI answered at once."""
        return self.openai_batch_id == LOCAL

    @property
    def answered_at_once(self) -> bool:
        """Whether OpenAI's embeddings endpoint answered it, without a batch."""
        return self.is_local and bool(self.sent_count)

    @property
    def at_openai(self) -> bool:
        """Whether it is a batch at OpenAI, which can be asked for it."""
        return not self.is_deletion and not self.is_local

    @property
    def precedence(self) -> datetime:
        """The instant that decides which of two records with one id wins."""
        return self.precedence_at or self.submitted_at


@dataclass(frozen=True)
class Refused:
    """A row that is left as it is, and why."""

    batch_id: str
    reason: str


def parse_row(item: Mapping[str, Any]) -> BatchSummary | Refused:
    """Read one row as the table gives it (plain Python values, numbers as Decimal).

    The system that this one replaces writes no `batch_id`: it is what follows `BATCH#` in `PK`. A refused row is
    named so too: its `batch_id` may be that of another batch.
    """
    named = str(item.get("PK", "")).removeprefix("BATCH#")
    values = {"batch_id": named} | {key: _number(value) for key, value in item.items()}
    if values.get("TYPE") != "BATCH_SUMMARY":
        return Refused(named, "TYPE is not BATCH_SUMMARY")
    try:
        summary = BatchSummary.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else "row"
        problem = "is missing" if first["type"] == "missing" else first["msg"].removeprefix("Value error, ")
        return Refused(named, f"{field} {problem}")
    size = item_bytes({name: value for name, value in item.items() if name not in OUTSIDE_TEXTS})
    if summary.status.live and size > FULLEST_ROW:
        return Refused(named, f"the row has {size:,} of the {LARGEST_ITEM:,} bytes that DynamoDB takes")
    if item.get("PK") != f"BATCH#{summary.batch_id}":
        return Refused(named, f"PK is not BATCH#{summary.batch_id}")
    if item.get("GSI1PK") != f"STATUS#{summary.status}":
        return Refused(named, f"status {summary.status} and GSI1PK {item.get('GSI1PK')} disagree")
    if item.get("GSI1SK") != f"BATCH_TYPE#{summary.batch_type}#BATCH_ID#{summary.batch_id}":
        return Refused(named, f"batch_type, batch_id and GSI1SK {item.get('GSI1SK')} disagree")
    return summary


def item_bytes(value: object) -> int:
    """About how much of DynamoDB's limit a value or an item takes: names, texts, and some bytes for the rest."""
    if isinstance(value, str):
        return len(value.encode(errors="replace"))
    if isinstance(value, bytes | bytearray):
        return len(value)
    if isinstance(value, Mapping):
        return sum(item_bytes(name) + item_bytes(one) + 1 for name, one in value.items())
    if isinstance(value, list | set):
        return sum(item_bytes(one) + 1 for one in value)
    return BYTES_OF_A_NUMBER


def _number(value: object) -> object:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value
