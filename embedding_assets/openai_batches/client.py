"""The OpenAI API, narrowed to the calls this product makes, its errors translated here and nowhere else."""

from __future__ import annotations

import hashlib
import importlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import openai
from openai.types import Batch
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from embedding_assets.credentials import check_credentials
from embedding_assets.errors import (
    BatchError,
    EmbeddingAssetsError,
    NotFoundError,
    ServiceError,
    SettingsError,
    TransientError,
)
from embedding_assets.openai_batches.output import writable

LIST_PAGE = 100
"""Batches that one list call gives at most."""
SDK_RETRIES = 4
"""The SDK waits 0.5 s, doubled each time, with jitter, between tries."""
STREAM_TRIES = 3
"""A download that breaks off is begun again so often."""
BLOCK = 2**20
TIMEOUT = openai.Timeout(120.0, connect=10.0)

NOT_FOUND = "not_found"
"""Our word for the status of a batch that OpenAI does not know."""


def _of_the_transport(name: str) -> tuple[type[Exception], ...]:
    """An error class of the SDK's transport, for what it raises past the SDK's own translation.

    The SDK speaks through `httpx` up to 2.x and through `httpx2` from 3.x on.
    """
    found = []
    for module in ("httpx", "httpx2"):
        try:
            found.append(getattr(importlib.import_module(module), name))
        except ImportError:
            continue
    return tuple(found)


UNUSABLE: tuple[type[Exception], ...] = (ValueError, *_of_the_transport("InvalidURL"))
"""What the SDK raises for an id that makes no address."""

UNUSABLE_SETTINGS: tuple[type[Exception], ...] = (ImportError, *UNUSABLE)
"""What the SDK raises for an address or a proxy that it cannot use; without support for SOCKS an ImportError."""
OTHER_ERRORS: tuple[type[Exception], ...] = (openai.OpenAIError, *UNUSABLE)

CONNECTION_ERRORS: tuple[type[Exception], ...] = (openai.APIConnectionError, *_of_the_transport("TransportError"))

REFUSED = "refused"
"""Our word for the status of a batch that OpenAI refuses to tell of."""

TERMINAL = frozenset({"completed", "failed", "expired", "cancelled", NOT_FOUND, REFUSED})


@dataclass(frozen=True)
class RemoteBatch:
    """A batch as OpenAI tells it. File ids are None where there is no file, also where OpenAI says `""`.

    `error_code` is the code of the first of its errors.
    """

    id: str
    status: str
    created_at: datetime
    finished_at: datetime | None
    input_file_id: str | None
    output_file_id: str | None
    error_file_id: str | None
    errors: tuple[str, ...] = ()
    error_code: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def terminal(self) -> bool:
        """Whether OpenAI has finished with it."""
        return self.status in TERMINAL


class OpenAIBatches:
    """Files and batches of one OpenAI account, as the SDK's own environment variables name it."""

    def __init__(self, client: openai.OpenAI | None = None) -> None:
        self._sdk = client
        self._making = threading.Lock()

    @property
    def sdk(self) -> openai.OpenAI:
        """The SDK's client, made on first use, once for all threads. SettingsError without a key."""
        with self._making:
            if self._sdk is None:
                self._sdk = _connected()
            return self._sdk

    def retrieve(self, openai_batch_id: str) -> RemoteBatch:
        """One batch; status NOT_FOUND where OpenAI does not know it."""
        try:
            with translated(f"asking OpenAI for batch {openai_batch_id}", refusal=BatchError):
                return _remote(self.sdk.batches.retrieve(openai_batch_id))
        except NotFoundError:
            return RemoteBatch(openai_batch_id, NOT_FOUND, datetime.now(UTC), None, None, None, None)

    def list_since(self, oldest: datetime) -> Iterator[RemoteBatch]:
        """Batches created at `oldest` or later, newest first, 100 a call."""
        after: str | None = None
        seen: set[str] = set()
        while True:
            with translated("listing OpenAI's batches"):
                page = self.sdk.batches.list(limit=LIST_PAGE, after=after or openai.omit)
            fresh = [batch for batch in page.data if batch.id not in seen]
            for batch in fresh:
                remote = _remote(batch)
                if remote.created_at < oldest:
                    return
                yield remote
            if not fresh or page.has_more is False:
                return
            seen.update(batch.id for batch in fresh)
            after = page.data[-1].id

    def download(self, file_id: str, path: Path, beat: Callable[[], None] = lambda: None) -> str:
        """Stream a file to `path` and return its bytes' hex sha256. NotFoundError where it is gone."""
        for attempt in Retrying(
            stop=stop_after_attempt(STREAM_TRIES),
            wait=wait_random_exponential(multiplier=0.5, max=10),
            retry=retry_if_exception_type(TransientError),
            reraise=True,
        ):
            with attempt:
                return self._stream(file_id, path, beat)
        raise AssertionError("unreachable: the last try returns or raises")

    def _stream(self, file_id: str, path: Path, beat: Callable[[], None]) -> str:
        digest = hashlib.sha256()
        with (
            translated(f"downloading OpenAI's file {file_id}", refusal=BatchError),
            self.sdk.files.with_streaming_response.content(file_id) as response,
            path.open("wb") as sink,
        ):
            for block in response.iter_bytes(BLOCK):
                digest.update(block)
                sink.write(block)
                beat()
        return digest.hexdigest()

    def upload_requests(self, input_file: Path) -> str:
        """Upload a batch's requests; return the file's id. An upload costs nothing until a batch is made of it."""
        with translated("uploading a batch's requests to OpenAI"), input_file.open("rb") as stream:
            return self.sdk.files.create(file=stream, purpose="batch").id

    def create_batch(self, input_file_id: str, metadata: dict[str, str]) -> RemoteBatch:
        """Start a batch at the embeddings endpoint: sent once, for it costs money.

        After a TransientError nobody knows whether it was made: look for it before it is tried again.
        """
        with translated("creating a batch at OpenAI"):
            return _remote(
                self.sdk.with_options(max_retries=0).batches.create(
                    input_file_id=input_file_id,
                    endpoint="/v1/embeddings",
                    completion_window="24h",
                    metadata=metadata,
                )
            )

    def find_batch(self, metadata: Mapping[str, str], since: datetime) -> RemoteBatch | None:
        """The oldest batch with this metadata that was created at `since` or later; None without one."""
        found = None
        for remote in self.list_since(since):
            if metadata.items() <= remote.metadata.items():
                found = remote
        return found

    def embed(self, texts: Sequence[str], model: str, dimensions: int | None) -> list[list[float]]:
        """Vectors of texts, at once and at full price: for a search."""
        with translated(f"embedding with {model}"):
            response = self.sdk.embeddings.create(
                model=model,
                input=list(texts),
                dimensions=openai.omit if dimensions is None else dimensions,
                encoding_format="float",
            )
        return [entry.embedding for entry in response.data]

    def knows_model(self, model: str) -> bool:
        """Whether the account has this model."""
        try:
            with translated(f"asking OpenAI for the model {model}"):
                self.sdk.models.retrieve(model)
        except NotFoundError:
            return False
        return True


def _connected() -> openai.OpenAI:
    """The SDK's client. SettingsError names the variable that it cannot be made with, and quotes no value."""
    check_credentials()
    try:
        return openai.OpenAI(max_retries=SDK_RETRIES, timeout=TIMEOUT)
    except openai.OpenAIError:
        raise SettingsError("OPENAI_API_KEY is not set (the key of the account that runs the batches)") from None
    except UNUSABLE_SETTINGS as error:
        raise SettingsError(
            "OpenAI's SDK cannot use OPENAI_BASE_URL or a proxy variable "
            f"(HTTP_PROXY, HTTPS_PROXY, ALL_PROXY): {_plain(error)}"
        ) from None


@contextmanager
def translated(subject: str, refusal: type[EmbeddingAssetsError] = ServiceError) -> Iterator[None]:
    """Raise the SDK's errors as ours; `refusal` for answers that will not change.

    Without their causes: a gateway's answer may repeat the key, and the transport's complaint about a header or a
    proxy quotes it. Dagster stores causes.
    """
    try:
        yield
    except openai.NotFoundError:
        raise NotFoundError(f"{subject}: OpenAI does not know it") from None
    except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
        message = f"{subject}: OpenAI refused the key in OPENAI_API_KEY ({error.status_code})"
        raise ServiceError(message) from None
    except CONNECTION_ERRORS as error:
        kind = type(error.__cause__ or error).__name__
        raise TransientError(f"{subject}: OpenAI cannot be reached ({kind})") from None
    except openai.APIStatusError as error:
        message = f"{subject}: OpenAI answered {error.status_code} {_code(error)}".rstrip()
        if error.status_code in (408, 409, 429) or error.status_code >= 500:
            raise TransientError(message) from None
        raise refusal(message) from None
    except OTHER_ERRORS as error:
        raise refusal(f"{subject}: {_plain(error)}") from None


def _plain(error: Exception) -> str:
    return " ".join(str(error).split())


def _code(error: openai.APIStatusError) -> str:
    return " ".join(str(part) for part in (error.code, error.type) if part)


def _remote(batch: Batch) -> RemoteBatch:
    ended = batch.completed_at or batch.failed_at or batch.expired_at or batch.cancelled_at
    problems = (batch.errors.data or []) if batch.errors else []
    return RemoteBatch(
        id=batch.id,
        status=batch.status,
        created_at=datetime.fromtimestamp(batch.created_at or 0, UTC),
        finished_at=datetime.fromtimestamp(ended, UTC) if ended else None,
        input_file_id=batch.input_file_id or None,
        output_file_id=batch.output_file_id or None,
        error_file_id=batch.error_file_id or None,
        errors=tuple(writable(f"{problem.code}: {problem.message}") for problem in problems),
        error_code=next((writable(problem.code) for problem in problems if problem.code), None),
        metadata=batch.metadata or {},
    )
