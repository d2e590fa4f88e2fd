"""Time that passes only when somebody sleeps: a lease runs out at once."""

from __future__ import annotations

import threading

import pytest

WAITING = ("ledger.lease", "versions.publish", "executions.final")
"""The product's modules that wait."""


class VirtualTime:
    """In place of the module `time`, for those who wait."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        """Seconds."""
        with self._lock:
            return self._now

    def sleep(self, seconds: float) -> None:
        """So much later, at once."""
        with self._lock:
            self._now += seconds

    def patch(self, patch: pytest.MonkeyPatch) -> None:
        """Those who wait wait here from now on."""
        for module in WAITING:
            patch.setattr(f"embedding_assets.{module}.time", self)
