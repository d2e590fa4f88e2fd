"""A sign of life: long steps log at least each minute, so that a silent run can be taken for dead."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

INTERVAL_SECONDS = 30.0


@contextmanager
def heartbeat(log: Callable[[str], object], what: str, interval: float = INTERVAL_SECONDS) -> Iterator[None]:
    """While the block runs, say every `interval` seconds that `what` goes on."""
    ended = threading.Event()
    started = time.monotonic()

    def beat() -> None:
        while not ended.wait(interval):
            # If the event log takes no line, the step itself fails for it, or the next line comes through.
            with suppress(Exception):
                log(f"{what}: still running after {time.monotonic() - started:.0f} s")

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
