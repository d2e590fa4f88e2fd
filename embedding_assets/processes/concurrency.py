"""Several calls at once, in threads: for what waits on the network, or hashes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

AT_ONCE = 8


def concurrently(calls: Sequence[Callable[[], T]], at_once: int = AT_ONCE) -> list[T]:
    """What each call returns, in their order; the first error is raised after all have ended."""
    if len(calls) <= 1 or at_once == 1:
        return [call() for call in calls]
    with ThreadPoolExecutor(at_once) as pool:
        return [done.result() for done in [pool.submit(call) for call in calls]]
