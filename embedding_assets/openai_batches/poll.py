"""Polling one batch: ask OpenAI, stream its files, join them with what was requested, write the delta.

Promise: requested = embedded + failed + unfinished, or ConservationError. What is written is written in the
order delta, `errors.jsonl`, `result.json`; polling the same again finds the same delta. The row of the batch is
not touched.
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from embedding_assets.databases import Database
from embedding_assets.errors import BatchError, NotFoundError
from embedding_assets.ledger.batch_summary import BatchSummary
from embedding_assets.openai_batches.client import NOT_FOUND, OpenAIBatches, RemoteBatch
from embedding_assets.openai_batches.deletions import finished_itself, read_deletions
from embedding_assets.openai_batches.earlier import Earlier, earlier_ending
from embedding_assets.openai_batches.keys import errors_key, records_key, result_key
from embedding_assets.openai_batches.poll_result import Action, PollResult, RequestError, read_errors
from embedding_assets.openai_batches.reconcile import Reconciled, reconcile
from embedding_assets.openai_batches.requests import Requests, read_input_file, read_records
from embedding_assets.snapshots.directory import (
    Format,
    SnapshotManifest,
    file_sha256,
    find_complete,
    find_manifest,
    is_complete,
    list_files,
    upload_snapshot,
)
from embedding_assets.snapshots.sources import ARROW_FILE, CHROMA_FILE, pack
from embedding_assets.snapshots.store import Store

DELTA_VERSION = "2"
"""Part of every delta id: raised when the same input would give other bytes."""

EMPTY_SHA256 = hashlib.sha256().hexdigest()

Beat = Callable[[], None]


class Poller:
    """Polls batches of one database; safe to use from several threads.

    They wait for the network side by side, and parse one at a time: one thread that parses has all that a
    process can parse, and many that want to only take time from each other.
    """

    def __init__(self, store: Store, openai: OpenAIBatches, database: Database, form: Format) -> None:
        self._store = store
        self._openai = openai
        self._database = database
        self._form = form
        self._parsing = threading.Lock()

    def poll(self, batch: BatchSummary, beat: Beat = lambda: None) -> PollResult:
        """Poll one batch and write what it delivered; `beat` is called while a download goes on.

        Raises BatchError for what this batch alone is to blame for, TransientError for what may pass.
        """
        started = time.monotonic()
        remote = finished_itself(batch) if batch.is_deletion else self._openai.retrieve(batch.openai_batch_id)
        if batch.is_deletion:
            count = len(read_deletions(self._store, batch.batch_id))
            result = self._result(batch, remote, Reconciled(), action="process_results")
            result = result.model_copy(update={"deletion_count": count})
        elif remote.terminal:
            with tempfile.TemporaryDirectory(prefix="embedding-assets-poll-") as folder:
                result = self._terminal(batch, remote, Path(folder), beat)
        else:
            result = self._result(batch, remote, Reconciled(), action="wait")
        result = result.model_copy(update={"processing_time_seconds": round(time.monotonic() - started, 3)})
        self._store.put(result_key(batch.batch_id), result.model_dump_json(indent=2).encode())
        return result

    def _terminal(self, batch: BatchSummary, remote: RemoteBatch, folder: Path, beat: Beat) -> PollResult:
        output, error, asked = (folder / name for name in ("output.jsonl", "error.jsonl", "asked.jsonl"))
        output_sha256 = self._fetch(remote.output_file_id, output, beat)
        gone = output_sha256 is None
        error_sha256 = self._fetch(remote.error_file_id, error, beat)
        if gone or remote.status == NOT_FOUND:
            earlier = self._earlier_with_delta(batch)
            if earlier is not None:
                return earlier
        answered = bool(output.stat().st_size or error.stat().st_size)
        refused = "; ".join(remote.errors)
        try:
            requests = self._requests(batch, remote, asked)
        except BatchError as problem:
            if answered:
                raise
            requests, refused = Requests({}), refused or str(problem)
        if requests is None:
            if output.stat().st_size:
                raise BatchError(
                    f"batch {batch.batch_id}: neither {records_key(batch.batch_id)} nor OpenAI's input file is "
                    "there, so nobody can say what its answers belong to"
                )
            requests = Requests({})
        arrow = folder / "delta" / ARROW_FILE
        with self._parsing:
            found = reconcile(
                requests,
                batch.dimensions,
                (output, error),
                remote.status,
                arrow,
                _batch_error(remote),
                remote.line_errors,
            )
        if not found.written:
            message = refused or _why_nothing(remote, found, gone)
            ended = earlier_ending(self._store, self._database, batch)
            if ended is not None:
                return self._kept(batch, remote, ended, message)
            if gone or remote.status == NOT_FOUND:
                found.take_errors(self._on_record(batch), requests)
            self._write_errors(batch.batch_id, found)
            return self._result(batch, remote, found, action="handle_failure", message=message)
        hashes = (output_sha256 or EMPTY_SHA256, error_sha256 or EMPTY_SHA256, file_sha256(asked))
        delta_id = self._delta_id(batch, found, hashes)
        delta_key = f"{self._database.delta_prefix}{delta_id}/"
        self._write_delta(arrow.parent, delta_key, found)
        self._write_errors(batch.batch_id, found)
        action: Action = "process_results" if remote.status == "completed" else "process_partial"
        result = self._result(batch, remote, found, action=action)
        return result.model_copy(update={"delta_id": delta_id, "delta_key": delta_key})

    def _fetch(self, file_id: str | None, path: Path, beat: Beat) -> str | None:
        """Bring a file, return its sha256; an absent one is empty. None where OpenAI names it but it is gone."""
        path.touch()
        if file_id is None:
            return EMPTY_SHA256
        try:
            return self._openai.download(file_id, path, beat)
        except NotFoundError:
            path.write_bytes(b"")
            return None

    def _requests(self, batch: BatchSummary, remote: RemoteBatch, path: Path) -> Requests | None:
        """What was asked for; None where neither `records/` nor OpenAI's input file is there."""
        key = records_key(batch.batch_id)
        try:
            self._store.download_file(key, path)
            return read_records(path, key)
        except NotFoundError:
            pass
        if remote.input_file_id is None or self._fetch(remote.input_file_id, path, lambda: None) is None:
            return None
        return read_input_file(path, f"OpenAI's input file of batch {batch.batch_id}")

    def _result(
        self,
        batch: BatchSummary,
        remote: RemoteBatch,
        found: Reconciled,
        *,
        action: Action,
        message: str | None = None,
    ) -> PollResult:
        failed = found.count("failed")
        return PollResult(
            batch_id=batch.batch_id,
            openai_batch_id=batch.openai_batch_id,
            batch_status=remote.status,
            action=action,
            results_count=found.written + failed,
            embedding_count=found.written,
            failed_count=failed,
            unfinished_count=found.count("unfinished"),
            collection=self._database.collection,
            database=self._database.name,
            model=batch.model or found.model,
            dimensions=found.dimensions or batch.dimensions,
            message=message,
            generation=batch.generation,
            precedence_at=batch.precedence,
            unknown_count=found.unknown,
            repeated_count=found.repeated,
            retryable_count=sum(error.retryable for error in found.all_errors()),
            batch_error_code=remote.error_code if remote.status == "failed" else None,
        )

    def _kept(self, batch: BatchSummary, remote: RemoteBatch, ended: Earlier, message: str) -> PollResult:
        """Nothing is to be had any more of a batch that is published: what is on record of it stays as it is."""
        result = self._result(
            batch, remote, Reconciled(), action="handle_failure", message=f"{message}; {ended.told}"
        )
        counts = {
            "results_count": ended.embedded + ended.failed,
            "embedding_count": ended.embedded,
            "failed_count": ended.failed,
            "unfinished_count": ended.unfinished,
        }
        return result.model_copy(update={"kept_status": ended.status, **counts})

    def _delta_id(self, batch: BatchSummary, found: Reconciled, hashes: tuple[str, str, str]) -> str:
        """A function of the batch, the bytes of its output, errors and records, and the format.

        So are the dimensions, unless the row tells them: then they belong to the batch.
        """
        parts = [DELTA_VERSION, batch.batch_id, str(found.dimensions), *hashes, self._form]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]

    def _write_delta(self, directory: Path, prefix: str, found: Reconciled) -> None:
        stood = find_manifest(self._store, prefix)
        if stood is not None and is_complete(self._store, prefix, stood):
            return
        pack(directory, self._form, self._database.collection)
        manifest = SnapshotManifest(
            format=self._form,
            count=found.written,
            dimensions=found.dimensions,
            collection=self._database.collection,
            files=list_files(directory),
        )
        over_nothing = stood is None and self._form == "arrow"  # Chroma's files differ from one build to the next
        upload_snapshot(self._store, directory, prefix, manifest, over_nothing=over_nothing)

    def _write_errors(self, batch_id: str, found: Reconciled) -> None:
        key = errors_key(batch_id)
        lines = [error.model_dump_json() for error in found.all_errors()]
        if lines:
            self._store.put(key, ("\n".join(lines) + "\n").encode(), "application/jsonl")
        elif self._store.find(key) is not None:
            self._store.delete([key])

    def _on_record(self, batch: BatchSummary) -> list[RequestError]:
        """What `errors.jsonl` has of a batch that was opened again.

        It is more than can be learnt now that OpenAI has nothing of it any more.
        """
        stored = self._store.find(errors_key(batch.batch_id)) if batch.generation else None
        try:
            return read_errors(stored.data) if stored is not None else []
        except ValidationError:
            return []

    def _earlier_with_delta(self, batch: BatchSummary) -> PollResult | None:
        """The earlier poll's result, where its delta still stands: what was paid for is not thrown away."""
        stored = self._store.find(result_key(batch.batch_id))
        if stored is None:
            return None
        try:
            earlier = PollResult.model_validate_json(stored.data)
        except ValidationError:
            return None
        if earlier.openai_batch_id != batch.openai_batch_id:
            return None
        if not earlier.has_delta or not self._is_there(earlier.delta_key):
            return None
        return earlier.model_copy(
            update={
                "generation": batch.generation,
                "precedence_at": batch.precedence,
                "message": "OpenAI's output is gone; the delta of an earlier poll is used",
            }
        )

    def _is_there(self, prefix: str | None) -> bool:
        """Whether a delta still stands: whole by its manifest, or a Chroma directory of another program."""
        if prefix is None:
            return False
        if find_manifest(self._store, prefix) is not None:
            return find_complete(self._store, prefix) is not None
        return any(stored.key == prefix + CHROMA_FILE for stored in self._store.list(prefix))


def _batch_error(remote: RemoteBatch) -> tuple[str, str] | None:
    """Code and message, for each request, of what OpenAI failed the whole batch with: the row has its own text."""
    if remote.status != "failed" or remote.error_code is None:
        return None
    return remote.error_code, "no answer; OpenAI failed the whole batch, see the error of its row"


def _why_nothing(remote: RemoteBatch, found: Reconciled, gone: bool) -> str:
    if remote.status == NOT_FOUND:
        return "OpenAI does not know this batch"
    if gone:
        return "OpenAI has deleted the output of this batch"
    first = next((error for error in found.all_errors() if error.code != "no_answer"), None)
    if first is not None:
        return f"no request has an embedding; the first: {first.code} {first.message}".rstrip()
    return f"OpenAI says {remote.status} and delivered nothing"
