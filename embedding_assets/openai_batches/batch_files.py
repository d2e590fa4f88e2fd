"""The files of one batch, brought into a directory: its answers, and what was submitted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from embedding_assets.bucket.keys import answers_key, records_key
from embedding_assets.bucket.store import Store
from embedding_assets.errors import BatchError, NotFoundError
from embedding_assets.ledger.batch_summary import BatchSummary
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.openai_batches.disk_budget import DiskShare
from embedding_assets.openai_batches.remote import RemoteBatch
from embedding_assets.openai_batches.requests import Requests, read_input_file, read_records
from embedding_assets.rows.snapshot_directory import file_sha256

EMPTY_SHA256 = hashlib.sha256().hexdigest()

USUAL_DIMENSIONS = 1536
BYTES_A_NUMBER = 14
"""Of a vector's number in an output file as text; in base64 it has 6."""

Beat = Callable[[], None]


@dataclass(frozen=True)
class Fetched:
    """OpenAI's files of a batch, below one directory; a sha256 is None if OpenAI names the file and lacks it."""

    folder: Path
    output: Path
    error: Path
    output_sha256: str | None
    error_sha256: str | None

    @property
    def has_output(self) -> bool:
        """Whether the output file has anything in it."""
        return bool(self.output.stat().st_size)

    @property
    def has_answers(self) -> bool:
        """Whether one of the files has anything in it."""
        return self.has_output or bool(self.error.stat().st_size)


def _guessed_bytes(batch: BatchSummary, remote: RemoteBatch) -> int | None:
    """About how many bytes the output has; None if nothing says how many lines."""
    lines = remote.completed_count or batch.request_count
    return lines * (batch.dimensions or USUAL_DIMENSIONS) * BYTES_A_NUMBER if lines else None


@dataclass(frozen=True)
class BatchFiles:
    """Where the files of batches come from."""

    store: Store
    openai: OpenAIBatches

    def fetch_answers(
        self,
        batch: BatchSummary,
        remote: RemoteBatch,
        folder: Path,
        beat: Beat,
        share: DiskShare,
        *,
        ask_sizes: bool,
    ) -> Fetched:
        """Bring what OpenAI delivered; room on the disk is taken from `share` first.

        With `ask_sizes` the file objects say how many bytes must come. Without, a call less for each file, HTTP
        alone says where a body ends; `are_whole` compares afterwards.

        Raises BatchError if the answers of a batch that was not sent to OpenAI are not there.
        """
        output, error = folder / "output.jsonl", folder / "error.jsonl"
        if batch.is_local:
            return self._answers_here(batch, output, error, share)
        guessed = _guessed_bytes(batch, remote)
        if ask_sizes or guessed is None:
            output_sha256 = self._fetch(remote.output_file_id, output, beat, share.reserve)
            error_sha256 = self._fetch(remote.error_file_id, error, beat, share.reserve)
        else:
            share.reserve(guessed)
            output_sha256 = self._fetch(
                remote.output_file_id, output, beat, partial(share.correct, guessed), ask_size=False
            )
            error_sha256 = self._fetch(remote.error_file_id, error, beat, ask_size=False)
        return Fetched(folder, output, error, output_sha256, error_sha256)

    def are_whole(self, remote: RemoteBatch, fetched: Fetched) -> bool:
        """Whether each file has as many bytes as its file object says, or none says it."""
        for file_id, path, sha256 in (
            (remote.output_file_id, fetched.output, fetched.output_sha256),
            (remote.error_file_id, fetched.error, fetched.error_sha256),
        ):
            if file_id is not None and sha256 is not None:
                size = self.openai.size(file_id)
                if size is not None and size != path.stat().st_size:
                    return False
        return True

    def _answers_here(self, batch: BatchSummary, output: Path, error: Path, share: DiskShare) -> Fetched:
        key = answers_key(batch.batch_id)
        share.reserve(None)
        try:
            self.store.download_file(key, output)
        except NotFoundError as missing:
            raise BatchError(f"batch {batch.batch_id}: {key}, which has its vectors, is not there") from missing
        error.touch()
        return Fetched(output.parent, output, error, file_sha256(output), EMPTY_SHA256)

    def _fetch(
        self,
        file_id: str | None,
        path: Path,
        beat: Beat,
        on_size: Callable[[int | None], None] = lambda size: None,
        *,
        ask_size: bool = True,
    ) -> str | None:
        """Bring a file, return its sha256; without an id it is empty. None if OpenAI does not give it."""
        path.touch()
        if file_id is None:
            return EMPTY_SHA256
        try:
            return self.openai.download(file_id, path, beat, on_size, ask_size=ask_size)
        except NotFoundError:
            path.write_bytes(b"")
            return None

    def records(self, batch: BatchSummary, path: Path) -> Requests | None:
        """What was submitted, by `records/`; None without it."""
        key = records_key(batch.batch_id)
        try:
            self.store.download_file(key, path)
        except NotFoundError:
            return None
        return read_records(path, key)

    def input_file(self, batch: BatchSummary, remote: RemoteBatch, path: Path) -> Requests | None:
        """What was submitted, by OpenAI's input file; None if it is not there."""
        if remote.input_file_id is None or self._fetch(remote.input_file_id, path, lambda: None) is None:
            return None
        return read_input_file(path, f"OpenAI's input file of batch {batch.batch_id}")
