"""Noticing signals that Dagster takes for itself while a run executes in this process.

Dagster ends the run, or lets its step end, and goes on as if nothing had come; who started the run wants to stop.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from dagster import DagsterExecutionInterruptedError

from embedding_assets.processes.interruption import ENDING, interrupt

SIGNALS_READ = 4096


@contextmanager
def noticed_interrupts() -> Iterator[Callable[[], None]]:
    """Yields a function that raises Interrupted if a signal that ends commands has come since the block began.

    Dagster knows SIGINT and SIGTERM; SIGHUP reaches it as SIGINT meanwhile. An interruption that leaves the block
    is Interrupted by the signal that really came. Works in the main thread, where Python handles signals;
    elsewhere the function does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    reader, writer = socket.socketpair()
    came: list[int] = []

    def check() -> None:
        with suppress(BlockingIOError):
            came.extend(number for number in reader.recv(SIGNALS_READ) if number in ENDING)
        if came:
            interrupt(came[0])

    with reader, writer, _hangup_as_interrupt():
        reader.setblocking(False)
        writer.setblocking(False)
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield check
        except (KeyboardInterrupt, DagsterExecutionInterruptedError):
            check()
            raise
        finally:
            signal.set_wakeup_fd(before)


@contextmanager
def _hangup_as_interrupt() -> Iterator[None]:
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN:
        yield
        return

    def pass_on(number: int, frame: FrameType | None) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(hangup, pass_on)
    try:
        yield
    finally:
        signal.signal(hangup, before)
