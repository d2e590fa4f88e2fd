"""Processes that die, pause or lose answers at a chosen call, as threads of this one.

A process is a thread and every thread that it starts. Once dead, no call of it reaches outside any more: what
others see is what kill -9 leaves. While it is paused all of its threads stand still, its heartbeat too.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from embedding_assets_tests.faults.call_sites import CallSite

T = TypeVar("T")


ANYWHERE = CallSite("anywhere", "any", "*")
"""Stands for every site: a fault strikes the n-th of all calls."""


class Crash(BaseException):
    """The process is gone."""


class Fault(StrEnum):
    """What can happen to a call."""

    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"
    REFUSED = "refused"
    ANSWER_LOST = "applied, answer lost"
    RESENT = "applied, answer lost, sent again"
    PAUSED = "paused past the lease"


@dataclass(frozen=True)
class Planned:
    """A fault at the `occurrence`th call of a site, counted from 1."""

    site: CallSite
    fault: Fault
    occurrence: int = 1


@dataclass(frozen=True)
class Call:
    """One call as a tap sees it: how to do it, and what its service says when it refuses or its answer is lost."""

    site: CallSite
    do: Callable[[], Any]
    refuse: Callable[[], Any]
    lose: Callable[[], Any]


@dataclass
class Process:
    """One simulated process. `while_paused` is what others do meanwhile."""

    planned: Planned | None = None
    while_paused: Callable[[], None] = lambda: None
    seen: Counter[CallSite] = field(default_factory=Counter)
    struck: bool = False
    dead: bool = False
    _gate: threading.RLock = field(default_factory=threading.RLock)

    def call(self, call: Call) -> Any:
        """Do a call as planned."""
        with self._gate:
            if self.dead:
                raise Crash
            self.seen[call.site] += 1
            planned = self.planned
            strikes = (
                planned is not None
                and not self.struck
                and planned.site in (call.site, ANYWHERE)
                and planned.occurrence == (self.seen.total() if planned.site == ANYWHERE else self.seen[call.site])
            )
            if strikes and planned is not None:
                self.struck = True
                return self._strike(planned.fault, call)
        answer = call.do()
        if self.dead:
            raise Crash
        return answer

    def _strike(self, fault: Fault, call: Call) -> Any:
        match fault:
            case Fault.CRASH_BEFORE:
                self.dead = True
                raise Crash
            case Fault.CRASH_AFTER:
                call.do()
                self.dead = True
                raise Crash
            case Fault.REFUSED:
                return call.refuse()
            case Fault.ANSWER_LOST:
                call.do()
                return call.lose()
            case Fault.RESENT:
                call.do()
                return call.do()
            case Fault.PAUSED:
                others = threading.Thread(target=_as_process(Process(), self.while_paused))
                others.start()
                others.join()
                return call.do()


_OWNER = "_simulated_process"


def current() -> Process | None:
    """The process that this thread belongs to; None for the test itself."""
    return getattr(threading.current_thread(), _OWNER, None)


def run_as(process: Process, work: Callable[[], T]) -> T | None:
    """Do `work` as that process, in a thread of its own; None if it died."""
    outcome: list[T] = []
    problems: list[BaseException] = []

    def body() -> None:
        try:
            outcome.append(work())
        except Crash:
            pass
        except BaseException as error:  # noqa: BLE001 - a thread's boundary: raised again below
            if not process.dead:
                problems.append(error)

    thread = threading.Thread(target=_as_process(process, body))
    thread.start()
    thread.join()
    if problems:
        raise problems[0]
    return outcome[0] if outcome and not process.dead else None


@contextmanager
def processes() -> Iterator[None]:
    """While open, a thread belongs to the process of the thread that started it."""
    start, hook = threading.Thread.start, threading.excepthook

    def inheriting(thread: threading.Thread) -> None:
        owner = current()
        if owner is not None and not hasattr(thread, _OWNER):
            setattr(thread, _OWNER, owner)
        start(thread)

    def silent(arguments: threading.ExceptHookArgs) -> None:
        if not issubclass(arguments.exc_type, Crash):
            hook(arguments)

    threading.Thread.start = inheriting  # type: ignore[method-assign, assignment]
    threading.excepthook = silent
    try:
        yield
    finally:
        threading.Thread.start = start  # type: ignore[method-assign]
        threading.excepthook = hook


def _as_process(process: Process, work: Callable[[], Any]) -> Callable[[], None]:
    def body() -> None:
        setattr(threading.current_thread(), _OWNER, process)
        work()

    return body
