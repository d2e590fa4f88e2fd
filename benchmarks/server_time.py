"""The processor time of the local servers, as it goes on: what an emulated service takes is not the product's."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import numpy as np

TICKS = os.sysconf("SC_CLK_TCK")
EVERY_SECONDS = 0.02


def cpu_seconds(pid: int) -> float:
    """Processor seconds that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class ServerTime:
    """While the block goes on, notes what the processes have used; `between` tells it of any two moments."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._pids = tuple(pids)
        self._moments: list[float] = []
        self._used: list[float] = []
        self._ended = threading.Event()
        self._noting = threading.Thread(target=self._note, daemon=True)

    def __enter__(self) -> ServerTime:
        self._noting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._noting.join()

    def between(self, start: float, end: float) -> float:
        """Processor seconds of all of them from `start` to `end`, in seconds of the epoch."""
        before, after = np.interp([start, end], self._moments, self._used)
        return float(after - before)

    def _note(self) -> None:
        while True:
            self._moments.append(time.time())
            self._used.append(sum(cpu_seconds(pid) for pid in self._pids))
            if self._ended.wait(EVERY_SECONDS):
                return
