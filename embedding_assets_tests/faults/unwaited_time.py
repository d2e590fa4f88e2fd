"""Time that passes without anybody waiting for it: a sleep moves the clock on, and returns at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

WAITERS = (
    "embedding_assets.ledger.row_table",
    "embedding_assets.ledger.lease",
    "embedding_assets.executions.final",
    "embedding_assets.dagster_defs.runs.ingest",
    "embedding_assets.processes.file_lock",
    "embedding_assets.versions.publish",
    "embedding_assets.submission.sender",
    "dagster._core.execution.plan.active",
    "openai._base_client",
    "tenacity.nap",
)
"""Modules that sleep: before a retry, for a lease to run out, for a folder to be free."""


class UnwaitedTime:
    """In place of the module `time`: the real clocks, and on top of them what was slept."""

    def __init__(self) -> None:
        self._slept = 0.0
        self._lock = threading.Lock()

    def sleep(self, seconds: float) -> None:
        """So much later, at once."""
        with self._lock:
            self._slept += seconds

    def monotonic(self) -> float:
        """Seconds."""
        return time.monotonic() + self._slept

    def time(self) -> float:
        """Seconds since 1970."""
        return time.time() + self._slept

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@contextmanager
def nobody_waits() -> Iterator[None]:
    """While open, the waiters above share one such clock."""
    clock = UnwaitedTime()
    with pytest.MonkeyPatch.context() as patch:
        for module in WAITERS:
            patch.setattr(f"{module}.time", clock)
        yield
