"""Noticing signals that Dagster takes for itself while a run executes in this process.

Dagster ends the run, or lets its step end, and goes on as if nothing had come; who started the run wants to stop.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

ENDING = frozenset({signal.SIGINT, signal.SIGTERM})


@contextmanager
def noticed_interrupts() -> Iterator[Callable[[], bool]]:
    """Gives a function that tells whether SIGINT or SIGTERM has come since the block began.

    Works in the main thread, where Python handles signals; elsewhere the function tells False.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    reader, writer = socket.socketpair()
    came: set[int] = set()

    def told() -> bool:
        with suppress(BlockingIOError):
            came.update(reader.recv(4096))
        return bool(came & ENDING)

    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield told
        finally:
            signal.set_wakeup_fd(before)
