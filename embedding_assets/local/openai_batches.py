"""All batches of the local OpenAI server, and the threads that do their work."""

from __future__ import annotations

import copy
import logging
import random
import secrets
import threading
import time
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from embedding_assets.local.embedders import Embedder
from embedding_assets.local.openai_errors import ApiError, not_found
from embedding_assets.local.openai_files import BATCH_FILE_LIFE_SECONDS, FileStore
from embedding_assets.local.openai_input import read_input
from embedding_assets.local.openai_output import Stopped, write_answers
from embedding_assets.local.openai_plans import BatchPlan, PlanOrder, RequestFault
from embedding_assets.local.openai_planted import Planted
from embedding_assets.local.openai_timeline import Batch, Work

logger = logging.getLogger(__name__)

WORKERS = 2
ENDPOINT = "/v1/embeddings"
COMPLETION_WINDOW = "24h"
FINAL = ("completed", "failed", "expired", "cancelled")
MAX_PAGE = 100


class Listed(Protocol):
    """What listing needs of a batch, made here or planted."""

    @property
    def id(self) -> str: ...
    @property
    def created_at(self) -> float: ...
    @property
    def hidden(self) -> bool: ...
    def view(self, now: float) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How long batches take: `latency` seconds, give or take up to `jitter`, drawn by `seed`."""

    latency: float = 0
    jitter: float = 0
    seed: int = 0


def _log_failure(done: Future[None]) -> None:
    """A batch whose work raised would stay in progress for ever without a word."""
    if not done.cancelled() and (error := done.exception()) is not None:
        logger.error("a batch's work failed", exc_info=error)


class BatchStore:
    """Creates, plans, lists and cancels batches. Safe to use from threads."""

    def __init__(
        self,
        files: FileStore,
        embedder: Embedder,
        pace: Pace,
        windows: Collection[str] = (COMPLETION_WINDOW,),
    ) -> None:
        self._files = files
        self._windows = windows
        self._embedder = embedder
        self._pace = pace
        self._dice = random.Random(pace.seed)
        self._batches: dict[str, Batch | Planted] = {}
        self._waiting: list[tuple[int, PlanOrder]] = []
        self._lock = threading.RLock()
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="batch")
        self._closed = False

    def create(
        self,
        input_file_id: str,
        endpoint: str,
        window: str,
        metadata: dict[str, str] | None,
        output_life_seconds: int = BATCH_FILE_LIFE_SECONDS,
    ) -> Batch:
        """Create a batch and start its work. Raises ApiError if OpenAI refuses at once."""
        if endpoint != ENDPOINT:
            raise ApiError(400, f"Invalid value: '{endpoint}'. Supported value: '{ENDPOINT}'.", param="endpoint")
        if window not in self._windows:
            supported = "', '".join(self._windows)
            message = f"Invalid value: '{window}'. Supported value: '{supported}'."
            raise ApiError(400, message, param="completion_window")
        if self._files.get(input_file_id).purpose != "batch":
            raise ApiError(400, "The purpose of the input file must be 'batch'.", param="input_file_id")
        with self._lock:
            drift = self._dice.uniform(-self._pace.jitter, self._pace.jitter)
            plan = self._take_plan(metadata or {})
            batch = Batch(
                id=f"batch_{secrets.token_hex(16)}",
                endpoint=endpoint,
                input_file_id=input_file_id,
                completion_window=window,
                metadata=metadata,
                created_at=time.time(),
                latency=max(0.0, self._pace.latency + drift),
                plan=plan,
                output_life_seconds=output_life_seconds,
            )
            if plan.latency_seconds is not None:
                batch.latency = plan.latency_seconds
            self._batches[batch.id] = batch
            self._start(batch)
        return batch

    def _take_plan(self, metadata: dict[str, str]) -> BatchPlan:
        for index, (left, order) in enumerate(self._waiting):
            if order.metadata is not None:
                if order.metadata.items() <= metadata.items():
                    return order.plan
                continue
            if left == 1:
                del self._waiting[index]
            else:
                self._waiting[index] = (left - 1, order)
            return order.plan
        return BatchPlan()

    def order(self, order: PlanOrder) -> None:
        """Set a plan, for a batch that is there or for some to come. Raises ApiError 404."""
        with self._lock:
            if order.batch_id is None:
                self._waiting.append((order.next or 0, order))
                return
            batch = self._made(order.batch_id)
            self._replan(batch, order.plan)

    def _replan(self, batch: Batch, plan: BatchPlan) -> None:
        work_again = not plan.same_answers(batch.plan)
        batch.plan = plan
        if plan.latency_seconds is not None:
            batch.latency = plan.latency_seconds
        if work_again:
            batch.work = Work()
            self._start(batch)

    def cancel(self, batch_id: str) -> dict[str, Any]:
        """Cancel a batch; what was done stays. Raises ApiError 404 or, for a final one, 409."""
        with self._lock:
            batch = self._made(batch_id)
            now = time.time()
            status = batch.view(now)["status"]
            if status in FINAL:
                raise ApiError(409, f"Cannot cancel a batch with status '{status}'.")
            if status != "cancelling":
                undone = RequestFault(kind="unfinished", fraction=1 - batch.progress(now))
                batch.cancel_at = now
                changes = {"status": "cancelled", "requests": (*batch.plan.requests, undone), "hold": None}
                self._replan(batch, batch.plan.model_copy(update=changes))
            return batch.view(now)

    def plant(self, batch: Planted) -> None:
        """Add a batch made elsewhere, over any of the same id."""
        with self._lock:
            self._batches[batch.id] = batch

    def get(self, batch_id: str) -> dict[str, Any]:
        """The batch object now. Raises ApiError 404."""
        batch = self._batches.get(batch_id)
        if batch is None or batch.hidden:
            raise not_found("batch", batch_id)
        return batch.view(time.time())

    def page(self, limit: int, after: str | None) -> dict[str, Any]:
        """One page of the list, newest first. Raises ApiError 400 for a limit or cursor that is not valid."""
        if not 1 <= limit <= MAX_PAGE:
            raise ApiError(400, f"Invalid 'limit': {limit}. Expected 1 to {MAX_PAGE}.", param="limit")
        with self._lock:
            known: list[Listed] = [batch for batch in self._batches.values() if not batch.hidden]
        known.reverse()
        known.sort(key=lambda batch: batch.created_at, reverse=True)
        start = 0
        if after is not None:
            start = next((index + 1 for index, batch in enumerate(known) if batch.id == after), -1)
            if start < 0:
                raise ApiError(400, f"No batch found with id '{after}'.", param="after")
        now = time.time()
        data = [batch.view(now) for batch in known[start : start + limit]]
        return {
            "object": "list",
            "data": data,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
            "has_more": start + limit < len(known),
        }

    def denied_files(self) -> set[str]:
        """Ids of the files whose batches are planned to have lost them."""
        with self._lock:
            made = [batch for batch in self._batches.values() if isinstance(batch, Batch)]
        lost = [batch.work for batch in made if batch.plan.output_deleted]
        return {name for work in lost for name in (work.output_file_id, work.error_file_id) if name}

    def forget(self, batch_id: str) -> None:
        """Remove a batch. Raises ApiError 404."""
        with self._lock:
            if self._batches.pop(batch_id, None) is None:
                raise not_found("batch", batch_id)

    def held(self) -> tuple[dict[str, Batch | Planted], list[tuple[int, PlanOrder]]]:
        """Copies of all batches as they are now, by id, and the plans that wait for batches to come."""
        with self._lock:
            return copy.deepcopy(self._batches), list(self._waiting)

    def put_back(self, batches: dict[str, Batch | Planted], waiting: list[tuple[int, PlanOrder]]) -> None:
        """Know the batches and plans of an earlier server; work that it did not end begins again."""
        with self._lock:
            self._batches |= batches
            self._waiting += waiting
            for batch in batches.values():
                if isinstance(batch, Batch) and not batch.is_worked:
                    batch.work = Work()
                    self._start(batch)

    def clear(self) -> None:
        """Forget all batches and waiting plans, and begin the draws again."""
        with self._lock:
            self._batches.clear()
            self._waiting.clear()
            self._dice = random.Random(self._pace.seed)

    def close(self) -> None:
        """Stop all work."""
        self._closed = True
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _made(self, batch_id: str) -> Batch:
        batch = self._batches.get(batch_id)
        if not isinstance(batch, Batch):
            raise not_found("batch", batch_id)
        return batch

    def _start(self, batch: Batch) -> None:
        self._workers.submit(self._work, batch, batch.plan, batch.work).add_done_callback(_log_failure)

    def _work(self, batch: Batch, plan: BatchPlan, work: Work) -> None:
        def stopped() -> bool:
            return self._closed or batch.work is not work or batch.id not in self._batches

        if stopped():
            return
        stored = self._files.get(batch.input_file_id)
        content = read_input(stored.path, batch.endpoint)
        work.model, work.total, work.errors = content.model, len(content.entries), content.errors
        work.validated_at = time.time()
        if content.errors or plan.status == "failed":
            return
        output, errors = self._files.new_path(), self._files.new_path()
        try:
            seed = f"{self._pace.seed}:{stored.sha256}"
            work.answers = write_answers(content, plan, self._embedder, seed, output, errors, stopped)
            if work.answers.output_lines:
                work.output_file_id = self._adopt(output, f"{batch.id}_output.jsonl", batch)
            if work.answers.error_lines:
                work.error_file_id = self._adopt(errors, f"{batch.id}_error.jsonl", batch)
            work.done_at = time.time()
        except Stopped:
            output.unlink(missing_ok=True)
            errors.unlink(missing_ok=True)

    def _adopt(self, path: Path, name: str, batch: Batch) -> str:
        return self._files.adopt(path, name, "batch_output", batch.output_life_seconds).id
