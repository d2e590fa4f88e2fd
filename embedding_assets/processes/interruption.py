"""The signals that end a command, SIGINT, SIGTERM and SIGHUP: each raises `Interrupted` in the main thread.

So every `with` and `finally` on the way does its part: locks are released, temporary files deleted, children
ended. Only the first signal raises, since further ones must not interrupt that. After PATIENCE_SECONDS one raises
again, so that what hangs can be ended too.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
PATIENCE_SECONDS = 10.0
EXIT_CODE_BASE = 128
"""A shell reports a command that a signal ended as 128 and the signal's number."""


class Interrupted(KeyboardInterrupt):
    """A signal came that ends the command."""


@dataclass
class _State:
    number: int | None = None
    raised_at: float = 0.0


_state = _State()


def received() -> int | None:
    """The number of the first signal that came; None without one."""
    return _state.number


def exit_code() -> int:
    """128 and the number of the signal that came; of SIGINT without one."""
    return EXIT_CODE_BASE + (received() or signal.SIGINT)


def described() -> str:
    """The line for a person."""
    number = received()
    return "interrupted" if number in (None, signal.SIGINT) else f"interrupted by {signal.Signals(number).name}"


def interrupt(number: int) -> None:
    """Note that this signal came, unless another did before, and raise `Interrupted`."""
    _state.number = _state.number or number
    _state.raised_at = time.monotonic()
    raise Interrupted


@contextmanager
def ending_signals() -> Iterator[None]:
    """While the block runs, signals that end a command raise; those that the process ignores stay ignored.

    Works in the main thread, where Python handles signals; elsewhere it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _state.number = None
    before = {number: signal.getsignal(number) for number in ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let the block end first: a signal that comes meanwhile is handled after it, by whoever handles it now.

    For short blocks that must not be left in their middle: what was taken and who gives it back. If the block
    hangs, a second signal after PATIENCE_SECONDS is handled at once. In other threads than the main one it does
    nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, float]] = []

    def note(number: int, frame: FrameType | None) -> None:
        if came and time.monotonic() - came[0][1] > PATIENCE_SECONDS:
            handlers[number](number, frame)
        came.append((number, time.monotonic()))

    before = {number: signal.getsignal(number) for number in ENDING}
    handlers = {number: handler for number, handler in before.items() if callable(handler)}
    for number in handlers:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if came:
            number = came[0][0]
            handlers[number](number, None)


def handle(number: int, frame: FrameType | None) -> None:
    """The signal handler."""
    if _state.number is None or time.monotonic() - _state.raised_at > PATIENCE_SECONDS:
        interrupt(number)
