"""Polling an execution: all its batches, many at a time, none of which takes the others down."""

from __future__ import annotations

import errno
import ssl
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from embedding_assets.bucket.store import Store
from embedding_assets.databases import Database
from embedding_assets.errors import (
    BatchError,
    ConservationError,
    DamagedError,
    DamagedVersionError,
    EmbeddingAssetsError,
    ItemError,
    NotFoundError,
    ServiceError,
    TransientError,
)
from embedding_assets.executions.already_published import with_published
from embedding_assets.executions.ending import Endings, as_it_will_be
from embedding_assets.executions.guard import mismatches
from embedding_assets.executions.plan import ExecutionManifest, PlannedBatch
from embedding_assets.executions.settle import settle_row
from embedding_assets.ledger.batch_summary import BatchSummary
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.openai_batches.absence import ANOTHER_PROJECT, is_old
from embedding_assets.openai_batches.account import is_another_project
from embedding_assets.openai_batches.ask import Answer, ask_for
from embedding_assets.openai_batches.poll import Poller
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.openai_batches.remote import RemoteBatch
from embedding_assets.versions.manifest import read_pointer
from embedding_assets.versions.mark import keep_changed, keep_row

OWN_FAULTS = (BatchError, ConservationError, DamagedError, NotFoundError)
"""Errors that count against the batch alone. Others end the execution: a missing bucket, a damaged version."""

PASSING = (TransientError, ConnectionError, TimeoutError, ssl.SSLError)
"""Errors that count against nobody: the batch is polled by a later execution."""

OnBatch = Callable[[BatchSummary, PollResult], None]
Polled = tuple[BatchSummary | None, PollResult]
"""The row as it is afterwards, None without one, and what was found."""

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EROFS})
"""What this machine is out of."""


@dataclass(frozen=True)
class ExecutionPoller:
    """Polls the batches of an execution and keeps their rows in step with what was found."""

    store: Store
    ledger: Ledger
    poller: Poller
    database: Database
    concurrency: int

    def poll(
        self,
        manifest: ExecutionManifest,
        on_batch: OnBatch,
        beat: Callable[[], None] = lambda: None,
        report: Callable[[], None] = lambda: None,
    ) -> list[PollResult]:
        """Poll every batch of the manifest; one result for each, in its order.

        `on_batch` is called from this thread as each batch is done, and again for one whose row changes later.
        `report` returns once everything that `on_batch` got is stored: only then do batches without an embedding
        end, so that none ends without a report.

        Raises ServiceError for what no batch is to blame for: if the key seems to be of another project, after the
        batches that are old were settled.
        """
        rows = self.ledger.get_many(planned.batch_id for planned in manifest.batches)
        results: dict[str, PollResult] = {}
        kept: dict[str, BatchSummary] = {}

        def add(row: BatchSummary, result: PollResult) -> None:
            kept[row.batch_id] = row
            on_batch(row, result)

        reported: set[Future[Polled]] = set()
        planned_of = {planned.batch_id: planned for planned in manifest.batches}
        endings = Endings(
            self.store, lambda row, result, at: self._settled(planned_of[row.batch_id], row, result, at)
        )

        with ThreadPoolExecutor(self.concurrency) as pool:
            asked = ask_for(self.poller.openai, [row for row in rows.values() if row.at_openai], pool)
            answers = [answer for answer in asked.values() if isinstance(answer, RemoteBatch)]
            another_project = is_another_project(self.poller.openai, self.ledger, answers)
            pending = {
                pool.submit(
                    self._one,
                    planned,
                    rows.get(planned.batch_id),
                    beat,
                    asked.get(planned.batch_id),
                    another_project,
                    endings,
                ): planned
                for planned in manifest.batches
            }
            try:
                for done in as_completed(pending):
                    reported.add(done)
                    planned = pending[done]
                    row, results[planned.batch_id] = done.result()
                    if row is not None:
                        add(row, results[planned.batch_id])
            except BaseException:
                pool.shutdown(cancel_futures=True)
                with suppress(Exception):  # why the execution ends is what counts
                    for rest in pending.keys() - reported:
                        _tell_if_polled(rest, add)
                    report()
                    endings.end(add)
                raise
        report()
        results |= endings.end(add)
        left = [row for row in rows.values() if row.at_openai and not is_old(row, datetime.now(UTC))]
        if another_project and left:
            raise ServiceError(ANOTHER_PROJECT)
        fitting = self._guarded([results[planned.batch_id] for planned in manifest.batches], rows, add)
        by_batch = {result.batch_id: result for result in fitting}
        for row in keep_changed(self.store, self.ledger, kept):
            on_batch(row, by_batch[row.batch_id])
        if len(fitting) != manifest.total_batches:
            raise ConservationError(
                f"execution {manifest.execution_id}: {manifest.total_batches} batches planned, "
                f"{len(fitting)} polled"
            )
        return fitting

    def _one(
        self,
        planned: PlannedBatch,
        row: BatchSummary | None,
        beat: Callable[[], None],
        asked: Answer | None,
        another_project: bool,
        endings: Endings,
    ) -> Polled:
        """The row as it is afterwards, which is in the bucket then, and what was found.

        A row that ends without an embedding is as it will be: it ends once that is reported.
        """
        if row is not None and another_project and row.at_openai and not is_old(row, datetime.now(UTC)):
            return None, self._failed(planned, row.generation, ANOTHER_PROJECT)
        settled, result = self._polled(planned, row, beat, asked)
        if another_project and result.missing:
            result = result.model_copy(update={"retryable_count": 0})
        if settled is None:
            return None, result
        announced = as_it_will_be(settled, result)
        if announced is not None:
            keep_row(self.store, announced)
            endings.add(settled, announced, result)
            return announced, result
        settled, result = self._settled(planned, settled, result)
        keep_row(self.store, settled)
        return settled, result

    def _settled(
        self, planned: PlannedBatch, row: BatchSummary, result: PollResult, ends_at: str | None = None
    ) -> tuple[BatchSummary, PollResult]:
        """The row as its poll result makes it. A row that DynamoDB does not take counts against its batch."""
        try:
            return settle_row(self.ledger, row, result, ends_at), result
        except ItemError as error:
            return self._counted(planned, row, str(error))

    def _polled(
        self,
        planned: PlannedBatch,
        row: BatchSummary | None,
        beat: Callable[[], None],
        asked: Answer | None,
    ) -> Polled:
        if row is None:
            return None, self._failed(planned, 0, "the batch has no row any more, or one that is refused")
        try:
            if isinstance(asked, Exception):
                raise asked
            return row, self.poller.poll(row, beat, asked)
        except PASSING as error:
            message = str(error) if isinstance(error, TransientError) else f"batch {row.batch_id}: {_plain(error)}"
            return row, self._failed(planned, row.generation, message, passing=True)
        except DamagedVersionError:
            raise
        except OWN_FAULTS as error:
            return self._counted(planned, row, str(error))
        except EmbeddingAssetsError:
            raise
        except Exception as error:  # the boundary: one batch does not take the others down
            if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in NO_ROOM):
                raise ServiceError(f"polling on this machine: {_plain(error)}") from error
            return self._counted(planned, row, f"batch {row.batch_id}: {_plain(error)}")

    def _counted(self, planned: PlannedBatch, row: BatchSummary, message: str) -> tuple[BatchSummary, PollResult]:
        """Count a failure against the batch. If its row takes not even that, only the result has the reason."""
        changed = None
        with suppress(ItemError):
            changed = self.ledger.count_failure(row, message)
        return changed or row, self._failed(planned, row.generation, message)

    def _failed(
        self, planned: PlannedBatch, generation: int, message: str, *, passing: bool = False
    ) -> PollResult:
        return PollResult(
            batch_id=planned.batch_id,
            openai_batch_id=planned.openai_batch_id,
            batch_status="unknown",
            action="error",
            collection=self.database.collection,
            database=self.database.name,
            message=message,
            generation=generation,
            passing=passing,
        )

    def _guarded(
        self, results: Sequence[PollResult], rows: Mapping[str, BatchSummary], on_batch: OnBatch
    ) -> list[PollResult]:
        """Set aside the batches that do not fit what is published, with the reason; tell what is published."""
        pointer = read_pointer(self.store, self.database)
        unfit = mismatches(results, self.database, pointer.manifest if pointer else None)
        aside: dict[str, BatchSummary | None] = {}
        for batch_id, reason in unfit.items():
            with suppress(ItemError):
                aside[batch_id] = self.ledger.put_aside(batch_id, rows[batch_id].generation, reason)
        fitting = [
            result.model_copy(
                update={
                    "action": "error",
                    "message": unfit[result.batch_id],
                    "delta_id": None,
                    "delta_key": None,
                }
            )
            if result.batch_id in unfit
            else result
            for result in results
        ]
        for result in fitting:
            row = aside.get(result.batch_id)
            if row is not None:
                keep_row(self.store, row)
                on_batch(row, result)
        return with_published(self.store, self.database, pointer.manifest if pointer else None, fitting)


def _tell_if_polled(polled: Future[Polled], on_batch: OnBatch) -> None:
    """What came through beside the batch that ended the execution: its row may have its final status."""
    if polled.cancelled() or polled.exception() is not None:
        return
    row, result = polled.result()
    if row is not None:
        on_batch(row, result)


def _plain(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
