"""Polling one batch: ask OpenAI, stream its files, join them with what was requested, write the delta.

Promise: requested = embedded + failed + unfinished, or ConservationError. What is written is written in the
order delta, `errors.jsonl`, `result.json`; polling the same again finds the same delta. No row is written.

A batch that is polled for the first time and has an answer to every request costs one call to OpenAI and four to
S3: its output; its records, the delta's two objects, its result.
"""

from __future__ import annotations

import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from embedding_assets.bucket.keys import delta_key, records_key
from embedding_assets.bucket.store import Store
from embedding_assets.chroma.row_source import ARROW_FILE
from embedding_assets.databases import Database
from embedding_assets.errors import BatchError
from embedding_assets.ledger.batch_summary import BatchSummary
from embedding_assets.openai_batches.absence import Absence
from embedding_assets.openai_batches.batch_files import EMPTY_SHA256, BatchFiles, Beat, Fetched
from embedding_assets.openai_batches.batch_status import NO_ANSWER, NOT_FOUND
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.openai_batches.deletions import finished_itself, read_deletions
from embedding_assets.openai_batches.delta import name_delta, write_delta
from embedding_assets.openai_batches.disk_budget import USUAL_BYTES, DiskBudget
from embedding_assets.openai_batches.earlier import (
    Earlier,
    earlier_ending,
    earlier_errors,
    earlier_with_delta,
    is_first_poll,
)
from embedding_assets.openai_batches.errors_file import ErrorsFile
from embedding_assets.openai_batches.poll_result import Action, PollResult, count_codes
from embedding_assets.openai_batches.reasons import (
    batch_error,
    misfit_error,
    none_fits,
    not_all_records,
    why_missing,
    why_nothing,
    wrong_number,
)
from embedding_assets.openai_batches.reconcile import Reconciled, reconcile
from embedding_assets.openai_batches.remote import RemoteBatch
from embedding_assets.openai_batches.requests import Requests
from embedding_assets.rows.snapshot_directory import Format, file_sha256


class Poller:
    """Polls batches of one database; safe to use from several threads.

    They wait for the network side by side, and parse one at a time: one thread that parses has all that a
    process can parse, and many that want to only take time from each other. What waits to be parsed lies in the
    temporary directory, at most about `disk_bytes` of it, or one batch.
    """

    def __init__(
        self,
        store: Store,
        openai: OpenAIBatches,
        database: Database,
        form: Format,
        absence: Absence | None = None,
        disk_bytes: int = USUAL_BYTES,
    ) -> None:
        self.openai = openai
        self._store = store
        self._files = BatchFiles(store, openai)
        self.absence = absence or Absence()
        self._database = database
        self._form = form
        self._parsing = threading.Lock()
        self._disk = DiskBudget(disk_bytes)

    def ask(self, batch: BatchSummary) -> RemoteBatch:
        """The batch as OpenAI returns it now. Raises BatchError or TransientError."""
        return self.openai.retrieve(batch.openai_batch_id) if batch.at_openai else finished_itself(batch)

    def poll(
        self, batch: BatchSummary, beat: Beat = lambda: None, remote: RemoteBatch | None = None
    ) -> PollResult:
        """Poll one batch and write what it delivered; `beat` is called while a download goes on.

        `remote` is what OpenAI just returned for it; None: it is asked. Raises BatchError for what this batch
        alone is to blame for, TransientError for what may pass.
        """
        started = time.monotonic()
        remote = remote or self.ask(batch)
        errors = ErrorsFile(self._store, batch.batch_id)
        if batch.is_deletion:
            count = len(read_deletions(self._store, batch.batch_id, batch.deletion_count))
            result = self._result(batch, remote, Reconciled(), action="process_results")
            result = result.model_copy(update={"deletion_count": count})
        else:
            result = self._polled(batch, remote, beat, errors)
        result = result.model_copy(update={"processing_time_seconds": round(time.monotonic() - started, 3)})
        if batch.status.live or not (result.missing and result.action == "wait"):
            errors.write_with(result, first=is_first_poll(batch))
        return result

    def _polled(self, batch: BatchSummary, remote: RemoteBatch, beat: Beat, errors: ErrorsFile) -> PollResult:
        """What came of it. It is fetched again if it is not whole, or completed and not everything is answered."""
        result = self._look(batch, remote, beat, errors, last=False)
        if result is None:
            again = self.ask(batch) if remote.completed else remote
            result = self._look(batch, again, beat, errors, last=True)
            assert result is not None, "the last look has a result"
        return result

    def _look(
        self, batch: BatchSummary, remote: RemoteBatch, beat: Beat, errors: ErrorsFile, *, last: bool
    ) -> PollResult | None:
        """What came of it; None if it is to be fetched once more and this is not the last look."""
        if not remote.terminal:
            return self._result(batch, remote, Reconciled(), action="wait")
        with self._disk.share() as share, tempfile.TemporaryDirectory(prefix="embedding-assets-poll-") as folder:
            fetched = self._files.fetch_answers(batch, remote, Path(folder), beat, share, ask_sizes=last)
            absent = why_missing(remote, fetched.output_sha256 is None, fetched.error_sha256 is None)
            believed = self.absence.is_gone(batch, datetime.now(UTC))
            if absent is not None and not believed:
                return self._missing(batch, remote, absent)
            return self._ended(batch, remote, fetched, errors, last=last, believed=believed)

    def _ended(
        self,
        batch: BatchSummary,
        remote: RemoteBatch,
        fetched: Fetched,
        errors: ErrorsFile,
        *,
        last: bool,
        believed: bool,
    ) -> PollResult | None:
        """What came of a batch of which everything is there, or what is not there is believed gone."""
        gone = remote.status == NOT_FOUND or fetched.output_sha256 is None or remote.lacks_output
        earlier = earlier_with_delta(self._store, batch) if gone else None
        if earlier is not None:
            return earlier
        refused = "; ".join(remote.errors)
        asked = fetched.folder / "asked.jsonl"
        misfit: str | None = None
        try:
            requests = self._files.records(batch, asked)
            if requests is not None:
                misfit = wrong_number(records_key(batch.batch_id), requests.lines, batch.request_count)
            else:
                requests = self._files.input_file(batch, remote, asked)
                misfit = not_all_records(records_key(batch.batch_id), batch) if requests is not None else None
        except BatchError as problem:
            if fetched.has_answers:
                raise
            requests, refused = Requests({}), refused or str(problem)
        if requests is None:
            if fetched.has_output and remote.input_file_id is not None and not believed:
                return self._missing(batch, remote, "OpenAI does not give the input file of this batch")
            if fetched.has_output:
                raise BatchError(
                    f"batch {batch.batch_id}: neither {records_key(batch.batch_id)} nor OpenAI's input file is "
                    "there, so nobody can say what its answers belong to"
                )
            requests = Requests({})
        if misfit is not None:
            return self._misfit(batch, remote, requests, f"{refused}; {misfit}" if refused else misfit, errors)
        arrow = fetched.folder / "delta" / ARROW_FILE
        with self._parsing:
            found = reconcile(
                requests,
                batch.dimensions,
                (fetched.output, fetched.error),
                remote.status,
                arrow,
                batch_error(remote),
                remote.line_errors,
                (batch.model, batch.dimensions) if batch.model else None,
            )
        if not last and (found.errors or found.unknown or not found.written):
            if not self._files.are_whole(remote, fetched):
                return None
            if any(error.code == NO_ANSWER for error in found.errors.values()):
                return None
        if not found.written:
            misfit = none_fits(found)
            if misfit is not None:
                return self._misfit(batch, remote, requests, misfit, errors, found)
            message = refused or why_nothing(remote, found, fetched.output_sha256 is None)
            return self._without_embeddings(batch, remote, requests, found, message, errors, gone=gone)
        hashes = (
            fetched.output_sha256 or EMPTY_SHA256,
            fetched.error_sha256 or EMPTY_SHA256,
            file_sha256(asked),
        )
        delta_id = name_delta(batch.batch_id, found, hashes, self._form)
        key = delta_key(self._database, delta_id)
        first = is_first_poll(batch)
        write_delta(self._store, self._database, self._form, arrow.parent, key, found, first=first)
        errors.set(found.all_errors())
        action: Action = "process_results" if remote.completed else "process_partial"
        result = self._result(batch, remote, found, action=action)
        return result.model_copy(update={"delta_id": delta_id, "delta_key": key})

    def _result(
        self,
        batch: BatchSummary,
        remote: RemoteBatch,
        found: Reconciled,
        *,
        action: Action,
        message: str | None = None,
    ) -> PollResult:
        failed, errors = found.count("failed"), list(found.all_errors())
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
            retryable_count=sum(error.retryable for error in errors),
            batch_error_code=remote.error_code if remote.failed else None,
            codes=count_codes(errors),
            output_file_id=remote.output_file_id,
            finished_at=remote.finished_at if remote.terminal else None,
        )

    def _missing(self, batch: BatchSummary, remote: RemoteBatch, what: str) -> PollResult:
        """OpenAI does not show it: it is looked for again, and nothing else of it is changed."""
        result = self._result(batch, remote, Reconciled(), action="wait", message=what)
        return result.model_copy(update={"missing": True})

    def _misfit(
        self,
        batch: BatchSummary,
        remote: RemoteBatch,
        requests: Requests,
        message: str,
        errors: ErrorsFile,
        found: Reconciled | None = None,
    ) -> PollResult:
        """Its records do not fit: nothing of it is published, and mending them is offered, never a retry."""
        ended = earlier_ending(self._store, self._database, batch)
        if ended is not None:
            return self._kept(batch, remote, ended, message).model_copy(update={"records_misfit": True})
        found = found or Reconciled()
        found.errors = {one: misfit_error(one, message) for one in requests.by_id}
        found.line_errors = [misfit_error(odd.id, message) for odd in requests.odd]
        errors.set(found.all_errors())
        result = self._result(batch, remote, found, action="handle_failure", message=message)
        unfinished = batch.request_count or requests.count
        return result.model_copy(update={"records_misfit": True, "unfinished_count": unfinished})

    def _without_embeddings(
        self,
        batch: BatchSummary,
        remote: RemoteBatch,
        requests: Requests,
        found: Reconciled,
        message: str,
        errors: ErrorsFile,
        *,
        gone: bool,
    ) -> PollResult:
        """It ends with nothing; what was published of it before stays. `gone`: OpenAI shows it no more."""
        ended = earlier_ending(self._store, self._database, batch)
        if ended is not None:
            return self._kept(batch, remote, ended, message)
        if gone:
            found.take_errors(earlier_errors(self._store, batch), requests)
        errors.set(found.all_errors())
        result = self._result(batch, remote, found, action="handle_failure", message=message)
        return result.model_copy(update={"missing": gone})

    def _kept(self, batch: BatchSummary, remote: RemoteBatch, ended: Earlier, message: str) -> PollResult:
        """Nothing is to be had any more of a batch that is published: what is on record of it stays as it is."""
        result = self._result(
            batch, remote, Reconciled(), action="handle_failure", message=f"{message}; {ended.summary}"
        )
        counts = {
            "results_count": ended.embedded + ended.failed,
            "embedding_count": ended.embedded,
            "failed_count": ended.failed,
            "unfinished_count": ended.unfinished,
        }
        return result.model_copy(update={"kept_status": ended.status, **counts})
