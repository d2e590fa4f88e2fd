"""The OpenAI API, narrowed to the calls that this product makes."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import openai
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from embedding_assets.calls.adaptive_limit import AdaptiveLimit
from embedding_assets.errors import (
    BatchError,
    NotFoundError,
    TransientError,
    UnusableAnswerError,
)
from embedding_assets.openai_batches.dialect import Dialect
from embedding_assets.openai_batches.remote import RemoteBatch, read_batch, unknown_batch
from embedding_assets.openai_batches.sdk import connected, json_object, translated

LIST_PAGE = 100
"""Batches that one list call gives at most."""
DEFAULT_AT_ONCE = 50
"""Requests at once if nobody says otherwise."""
STREAM_TRIES = 3
"""A download that breaks off is begun again so often."""
STREAM_WAIT = wait_random_exponential(multiplier=0.5, max=10)
BLOCK = 2**20


Vouched = tuple[str, int, bool]
"""Of a body that was read: its hex sha256, its bytes, and whether HTTP itself says that it is whole."""


class _NobodyVouches(TransientError):
    """Neither a file object nor HTTP says whether a body is whole."""


class OpenAIBatches:
    """Files and batches of one OpenAI account, as the SDK's own environment variables name it."""

    def __init__(
        self,
        client: openai.OpenAI | None = None,
        limit: AdaptiveLimit | None = None,
        dialect: Dialect | None = None,
    ) -> None:
        """With a `client` of one's own, no limit but that client's holds."""
        self.dialect = dialect or Dialect()
        self._sdk = client
        self._limit = limit or AdaptiveLimit(DEFAULT_AT_ONCE)
        self._making = threading.Lock()

    @property
    def sdk(self) -> openai.OpenAI:
        """The SDK's client, made on first use, once for all threads. SettingsError without a key."""
        with self._making:
            if self._sdk is None:
                self._sdk = connected(self._limit)
            return self._sdk

    def retrieve(self, openai_batch_id: str) -> RemoteBatch:
        """One batch; status NOT_FOUND if OpenAI does not know it.

        Raises BatchError if OpenAI refuses to show it, or shows it without a status.
        """
        subject = f"asking OpenAI for batch {openai_batch_id}"
        try:
            with translated(subject, refusal=BatchError):
                answer = self.sdk.batches.with_raw_response.retrieve(openai_batch_id)
        except NotFoundError:
            return unknown_batch(openai_batch_id)
        remote = read_batch({**json_object(answer.content, subject), "id": openai_batch_id})
        if not remote.status:
            raise BatchError(f"{subject}: the answer cannot be used: {remote.odd}")
        return remote

    def list_since(self, oldest: datetime) -> Iterator[RemoteBatch]:
        """Batches created at `oldest` or later, newest first, 100 a call.

        Entries that cannot be read are among them and say so (`odd`). Raises UnusableAnswerError for a page
        without data.
        """
        after: str | None = None
        seen: set[str] = set()
        subject = "listing OpenAI's batches"
        while True:
            with translated(subject):
                answer = self.sdk.batches.with_raw_response.list(limit=LIST_PAGE, after=after or openai.omit)
            page = json_object(answer.content, subject)
            entries = page.get("data")
            if not isinstance(entries, list):
                raise UnusableAnswerError(f"{subject}: the answer has no data")
            batches = [read_batch(entry) for entry in entries]
            fresh = [batch for batch in batches if batch.id not in seen]
            for batch in fresh:
                if batch.created_at is not None and batch.created_at < oldest:
                    return
                yield batch
            ids = [batch.id for batch in fresh if batch.id]
            if not ids or page.get("has_more") is False:
                return
            seen.update(ids)
            after = ids[-1]

    def download(
        self,
        file_id: str,
        path: Path,
        beat: Callable[[], None] = lambda: None,
        on_size: Callable[[int | None], None] = lambda size: None,
        *,
        ask_size: bool = True,
    ) -> str:
        """Stream a file to `path` and return its bytes' hex sha256. NotFoundError if OpenAI does not have it.

        Only a whole body counts: it has as many bytes as the file object says. Another one is fetched again, at
        most STREAM_TRIES times, then TransientError is raised. If the file object is not there or does not say how
        many bytes the file has, HTTP itself must say where the body ends.

        `on_size` is called with the size in bytes, None if nothing says it; the body is not asked for before it
        returns. Without `ask_size` the file object is not asked for: then `on_size` is called when the body is
        there, HTTP says where it ends, and if something is missing in it, `size` of the file is to be compared.
        """
        if not ask_size:
            with suppress(_NobodyVouches):
                digest = self._tried(file_id, path, beat, None)
                on_size(path.stat().st_size)
                return digest
        size = self.size(file_id)
        on_size(size)
        return self._tried(file_id, path, beat, size)

    def _tried(self, file_id: str, path: Path, beat: Callable[[], None], size: int | None) -> str:
        for attempt in Retrying(
            stop=stop_after_attempt(STREAM_TRIES),
            wait=STREAM_WAIT,
            retry=retry_if_exception(_broke_off),
            reraise=True,
        ):
            with attempt:
                return self._whole(file_id, path, beat, size)
        raise AssertionError("unreachable: the last try returns or raises")

    def has_content(self, file_id: str) -> bool:
        """Whether OpenAI gives this file now; nothing of it is read."""
        try:
            with (
                translated(f"asking OpenAI for file {file_id}", refusal=BatchError),
                self.sdk.files.with_streaming_response.content(file_id),
            ):
                return True
        except NotFoundError:
            return False

    def size(self, file_id: str) -> int | None:
        """The bytes of a file as its file object says, None if it does not; OpenAI has no empty files."""
        subject = f"asking OpenAI how many bytes file {file_id} has"
        try:
            with translated(subject, refusal=BatchError):
                answer = self.sdk.files.with_raw_response.retrieve(file_id)
        except NotFoundError:
            return None
        size = json_object(answer.content, subject).get("bytes")
        return size if isinstance(size, int) and not isinstance(size, bool) and size > 0 else None

    def _whole(self, file_id: str, path: Path, beat: Callable[[], None], size: int | None) -> str:
        digest, received, vouched = self._stream(file_id, path, beat)
        if size is None and not vouched:
            message = f"downloading OpenAI's file {file_id}: nothing says whether the body is whole"
            raise _NobodyVouches(message, broke_off=True)
        if size is not None and received != size:
            message = f"downloading OpenAI's file {file_id}: {received} bytes came, but the file has {size}"
            raise TransientError(message, broke_off=True)
        return digest

    def _stream(self, file_id: str, path: Path, beat: Callable[[], None]) -> Vouched:
        digest, received = hashlib.sha256(), 0
        with (
            translated(f"downloading OpenAI's file {file_id}", refusal=BatchError),
            self.sdk.files.with_streaming_response.content(file_id) as response,
            path.open("wb") as sink,
        ):
            for block in response.iter_bytes(BLOCK):
                digest.update(block)
                received += len(block)
                sink.write(block)
                beat()
            vouched = "content-length" in response.headers or "transfer-encoding" in response.headers
        return digest.hexdigest(), received, vouched

    def upload_requests(self, input_file: Path) -> str:
        """Upload a batch's requests; return the file's id. An upload costs nothing until a batch is made of it."""
        with translated("uploading a batch's requests to OpenAI"), input_file.open("rb") as stream:
            expiry = _expiry(self.dialect.input_file_seconds)
            file_id: object = self.sdk.files.create(file=stream, purpose="batch", expires_after=expiry).id
        if not isinstance(file_id, str) or not file_id:
            raise UnusableAnswerError("uploading a batch's requests to OpenAI: the answer has no file id")
        return file_id

    def create_batch(self, input_file_id: str, metadata: dict[str, str]) -> RemoteBatch:
        """Start a batch at the embeddings endpoint: sent once, for it costs money.

        After a TransientError nobody knows whether it was made: look for it before it is tried again.
        """
        subject = "creating a batch at OpenAI"
        # The SDK knows OpenAI's window alone.
        window: Any = self.dialect.completion_window
        with translated(subject):
            answer = self.sdk.with_options(max_retries=0).batches.with_raw_response.create(
                input_file_id=input_file_id,
                endpoint="/v1/embeddings",
                completion_window=window,
                metadata=metadata,
                output_expires_after=_expiry(self.dialect.output_file_seconds),
            )
        remote = read_batch(json_object(answer.content, subject))
        if not remote.id:
            raise UnusableAnswerError(f"{subject}: the answer has no id")
        return remote

    def cancel_batch(self, openai_batch_id: str) -> RemoteBatch:
        """Ask for a batch to be cancelled; the answer is the batch as it is then.

        Raises BatchError if OpenAI refuses, for one that has ended say, NotFoundError if it does not know it.
        """
        subject = f"cancelling batch {openai_batch_id} at OpenAI"
        with translated(subject, refusal=BatchError):
            try:
                answer = self.sdk.batches.with_raw_response.cancel(openai_batch_id)
            except openai.ConflictError:
                raise BatchError(f"{subject}: it has ended, or is being cancelled") from None
        return read_batch({**json_object(answer.content, subject), "id": openai_batch_id})

    def find_batch(self, metadata: Mapping[str, str], since: datetime) -> RemoteBatch | None:
        """The oldest batch with this metadata that was created at `since` or later; None without one."""
        found = None
        for remote in self.list_since(since):
            if metadata.items() <= remote.metadata.items():
                found = remote
        return found

    def embed(self, texts: Sequence[str], model: str, dimensions: int | None) -> list[list[float]]:
        """Vectors of texts, at once and at full price: for a search."""
        asked = self.dialect.dimensions(dimensions)
        with translated(f"embedding with {model}"):
            response = self.sdk.embeddings.create(
                model=model,
                input=list(texts),
                dimensions=openai.omit if asked is None else asked,
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


def _expiry(seconds: int) -> Any:
    """When the server deletes a file, so many seconds after it was made; nothing is said for 0."""
    return {"anchor": "created_at", "seconds": seconds} if seconds else openai.omit


def _broke_off(error: BaseException) -> bool:
    """Whether a body ended early: the SDK tries everything else again by itself."""
    return isinstance(error, TransientError) and error.broke_off
