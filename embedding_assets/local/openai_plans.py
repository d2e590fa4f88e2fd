"""What the local OpenAI server shall do wrong, as models: the bodies of its control API.

Nothing here is needed for ordinary work: the default plan completes a batch and answers every request.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

FinalStatus = Literal["completed", "failed", "expired", "cancelled"]
HeldStatus = Literal["validating", "in_progress", "finalizing", "cancelling"]
BatchStatus = FinalStatus | HeldStatus

RequestFaultKind = Literal[
    "error",
    "unfinished",
    "silent",
    "malformed",
    "nan",
    "zeros",
    "wrong_dimension",
    "empty_vector",
    "no_data",
    "duplicate",
    "conflicting_duplicate",
    "answered_and_failed",
]


class ControlModel(BaseModel):
    """Base of the control bodies: immutable, and a misspelt field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RequestFault(ControlModel):
    """One kind of fault, and which requests it takes: those named, and a fraction or number of the others.

    error: a line in the error file with `status_code` and `body.error`, top-level error null.
    unfinished: a line in the error file with `batch_expired` or `batch_cancelled`. silent: no line at all.
    malformed: an output line cut in its middle. nan, zeros, wrong_dimension (one number short), empty_vector,
    no_data (`data` is empty): unusable answers. duplicate: the good line twice. conflicting_duplicate: a
    second line with another vector. answered_and_failed: a good line, and a line in the error file.
    """

    kind: RequestFaultKind
    custom_ids: tuple[str, ...] = ()
    fraction: float = Field(default=0, ge=0, le=1)
    count: int = Field(default=0, ge=0)
    status_code: int = 500
    code: str | None = "server_error"
    message: str = "The server had an error while processing your request. Sorry about that!"


class BatchError(ControlModel):
    """One entry of a failed batch's `errors.data`."""

    code: str
    message: str
    param: str | None = None
    line: int | None = None


TOKEN_LIMIT = BatchError(
    code="token_limit_exceeded",
    message="Enqueued token limit reached for text-embedding-3-small. Limit: 3,000,000 enqueued tokens. "
    "Please try again once some in_progress batches have been completed.",
)


class BatchPlan(ControlModel):
    """The life of one batch. `hold` keeps it at a status until a plan without it is set."""

    status: FinalStatus = "completed"
    hold: HeldStatus | None = None
    latency_seconds: float | None = Field(default=None, ge=0)
    requests: tuple[RequestFault, ...] = ()
    unknown_ids: tuple[str, ...] = ()
    shuffle: bool = True
    errors: tuple[BatchError, ...] = (TOKEN_LIMIT,)
    empty_file_ids: bool = Field(default=False, description='absent file ids are "" instead of null')
    no_output_file: bool = Field(default=False, description="neither output nor error file, though final")
    output_deleted: bool = Field(default=False, description="the files' contents answer 404")
    batch_unknown: bool = Field(default=False, description="retrieving answers 404; not listed")
    fields: dict[str, Any] = Field(default_factory=dict, description="laid over the batch object once final")

    @model_validator(mode="after")
    def _hold_fits(self) -> Self:
        if self.hold == "cancelling" and self.status != "cancelled":
            raise ValueError("hold 'cancelling' needs status 'cancelled'")
        return self

    def same_answers(self, other: BatchPlan) -> bool:
        """Whether both plans lead to the same output and error files."""
        return self._answers() == other._answers()

    def _answers(self) -> tuple[object, ...]:
        return self.requests, self.unknown_ids, self.shuffle, self.status == "cancelled"

    def assign(self, custom_ids: Sequence[str], dice: random.Random) -> dict[str, RequestFault]:
        """Which request meets which fault; at most one each, earlier faults choose first."""
        fates: dict[str, RequestFault] = {}
        for fault in self.requests:
            named = set(fault.custom_ids)
            free = [name for name in custom_ids if name not in fates]
            chosen: Iterable[str] = [name for name in free if name in named]
            others = [name for name in free if name not in named]
            number = min(len(others), max(fault.count, round(fault.fraction * len(custom_ids))))
            fates |= dict.fromkeys([*chosen, *dice.sample(others, number)], fault)
        return fates


class PlanOrder(ControlModel):
    """For whom a plan is: one batch by id, or the `next` batches created, or those with this metadata."""

    plan: BatchPlan
    batch_id: str | None = None
    next: int | None = Field(default=None, ge=1)
    metadata: dict[str, str] | None = None

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if sum(target is not None for target in (self.batch_id, self.next, self.metadata)) != 1:
            raise ValueError("give exactly one of batch_id, next, metadata")
        return self


class PlantedBatch(ControlModel):
    """A batch object and its files, byte for byte as given. Absent files have a null id."""

    id: str
    status: BatchStatus = "completed"
    input: str | None = None
    output: str | None = None
    errors: str | None = None
    output_base64: str | None = Field(default=None, description="output as bytes that are not UTF-8")
    batch_errors: tuple[BatchError, ...] = ()
    created_at: int | None = Field(default=None, description="epoch seconds; default now")
    fields: dict[str, Any] = Field(default_factory=dict, description="laid over the batch object")


class OtherProject(ControlModel):
    """A key of another project: it sees no batch and no file of this one."""

    key: str


class HttpFault(ControlModel):
    """What the next `times` requests (null: all, until reset) of a route meet; the first that fits is used.

    `delay_seconds` passes first. Then `reset` cuts the connection without an answer, `status` is answered
    with an error body, `text` with 200 and that text, `truncate_after` cuts the connection after so many bytes of
    the body, or the request is answered as usual. With `unnoticed` the cut looks like the end of the body:
    `no_length`: the answer has no Content-Length, its body ends with the connection; `gzip`: the body is
    compressed, and only its first bytes are sent, as if they were all. Without `truncate_after` it is whole.
    """

    route: str = Field(description="as in the counters, such as 'GET /v1/files/{id}/content', or '*'")
    times: int | None = Field(default=1, ge=1)
    contains: str = Field(default="", description="only paths that contain this")
    delay_seconds: float = Field(default=0, ge=0)
    reset: bool = False
    status: int | None = Field(default=None, ge=400, le=599)
    code: str | None = None
    message: str = "injected fault"
    repeat_headers: bool = Field(default=False, description="message and code repeat the request's headers")
    retry_after: float | None = Field(default=None, description="seconds, sent as Retry-After")
    truncate_after: int | None = Field(default=None, ge=0)
    unnoticed: Literal["no_length", "gzip"] | None = None
    text: str | None = None
    content_type: str = "text/html"
