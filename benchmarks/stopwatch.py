"""Times functions of the product from outside: each call leaves a line in a file that all processes share.

Nothing of the product knows of it. Processes of a run find it through `load_job`, which they load the job by.
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from dagster import JobDefinition

SPANS_FILE = "BENCHMARK_SPANS"
"""Environment variable: the file that spans are appended to."""

POLLING = "polling"
MERGING = "merging and transfer"
LOCK = "lock of the merge"
EVENTS = "materializations of batches"

TIMED = {
    "embedding_assets.openai_batches.poll:Poller.poll": POLLING,
    "embedding_assets.executions.intermediate:IntermediateMerger.merge_chunk": MERGING,
    "embedding_assets.executions.intermediate:IntermediateMerger.merge_group": MERGING,
    "embedding_assets.executions.final:FinalMerger.merge": MERGING,
    "embedding_assets.ledger.locks:MergeLock.__enter__": LOCK,
    "embedding_assets.ledger.locks:MergeLock.__exit__": LOCK,
    "embedding_assets.dagster_defs.runs.ingest:_one_execution": "execution",
    "embedding_assets.dagster_defs.runs.ingest:ask_openai": "planning: ask OpenAI",
    "embedding_assets.ledger.ledger:Ledger.live": "planning: ask the ledger",
    "embedding_assets.dagster_defs.runs.ingest:choose": "planning: suspects",
    "embedding_assets.dagster_defs.runs.ingest:begin_execution": "planning: manifest and partitions",
    "embedding_assets.dagster_defs.runs.ingest:run_execution": "run",
    "embedding_assets.dagster_defs.runs.ingest:mark_and_tell": "mark",
    "embedding_assets.dagster_defs.runs.marking:mark_chain": "mark: rows",
}
"""What is timed, as `module:qualified name`, and what its spans are called."""


def install() -> None:
    """Time what is listed, and what a poll tells of each of its batches."""
    for target, name in TIMED.items():
        module, _, path = target.partition(":")
        owner: Any = import_module(module)
        *classes, last = path.split(".")
        for part in classes:
            owner = getattr(owner, part)
        setattr(owner, last, _timed(getattr(owner, last), name))
    _time_events()


def load_job(name: str) -> JobDefinition:
    """The job, as the product loads it, with what is timed."""
    from embedding_assets import definitions
    from embedding_assets.dagster_defs.runs import ingest

    if not hasattr(ingest.run_execution, "__wrapped__"):
        install()
    return definitions.load_job(name)


@contextmanager
def span(name: str) -> Iterator[None]:
    """Leave a line that says when the block began and ended, by the clock that Dagster's events have."""
    began = time.time()
    try:
        yield
    finally:
        line = json.dumps({"name": name, "pid": os.getpid(), "start": began, "end": time.time()})
        with Path(os.environ[SPANS_FILE]).open("a") as file:
            file.write(line + "\n")


def _timed(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def timed(*args: Any, **kwargs: Any) -> Any:
        with span(name):
            return function(*args, **kwargs)

    return timed


def _time_events() -> None:
    from embedding_assets.executions.poll import ExecutionPoller

    poll: Callable[..., Any] = ExecutionPoller.poll

    @functools.wraps(poll)
    def timed(self: ExecutionPoller, manifest: Any, on_batch: Any, **rest: Any) -> Any:
        return poll(self, manifest, _timed(on_batch, EVENTS), **rest)

    setattr(ExecutionPoller, "poll", timed)  # noqa: B010 - an assignment to a method is no type that mypy has
