"""The limit on calls at once: never more than allowed, halved by refusals, grown by successes, pauses kept."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from embedding_assets.calls.adaptive_limit import LONGEST_PAUSE_SECONDS, AdaptiveLimit
from embedding_assets.errors import NotFoundError, TransientError


class Clock:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """Nobody else would wake the waiting thread: without a duration it waits for ever."""
        assert seconds is not None, "waits for a call that never ends"
        self.now += seconds


def limit_of(most: int) -> tuple[AdaptiveLimit, Clock]:
    clock = Clock()
    return AdaptiveLimit(most, clock=clock, wait=clock.wait), clock


def throttle(limit: AdaptiveLimit, retry_after: float | None = None) -> None:
    """One call that is refused because of the load."""
    with pytest.raises(TransientError), limit.slot():
        raise TransientError("429", throttled=True, retry_after=retry_after)


def succeed(limit: AdaptiveLimit, times: int = 1) -> None:
    for _ in range(times):
        with limit.slot():
            pass


def test_a_refusal_halves_and_one_call_is_always_allowed() -> None:
    """50, 25, 12, 6, 3, 1, and no fewer."""
    limit, _ = limit_of(50)
    seen = []
    for _ in range(7):
        throttle(limit)
        seen.append(limit.window)
    assert seen == [25, 12, 6, 3, 1, 1, 1]


def test_successes_grow_it_again_and_never_beyond_the_most() -> None:
    """A window of successes adds one: from 1 to 2 after one, to 3 after two more; 8 is the most."""
    limit, _ = limit_of(8)
    for _ in range(3):
        throttle(limit)
    assert limit.window == 1
    succeed(limit)
    assert limit.window == 2
    succeed(limit, 3)
    assert limit.window == 3
    succeed(limit, 1000)
    assert limit.window == 8


def test_calls_that_were_under_way_together_halve_it_once() -> None:
    """Fifty refusals of one burst are one piece of news, not a collapse to one call."""
    limit, _ = limit_of(50)
    begun = [limit.begin() for _ in range(50)]
    for call in begun:
        limit.throttled(call)
        limit.end()
    assert limit.window == 25
    throttle(limit)
    assert limit.window == 12


def test_other_errors_change_nothing() -> None:
    """A 404, a broken connection, a bug: no word about the load, and the slot is free again."""
    limit, _ = limit_of(2)
    for error in (NotFoundError("404"), TransientError("reset"), KeyError("bug")):
        for _ in range(3):
            with pytest.raises(type(error)), limit.slot():
                raise error
    assert limit.window == 2


def test_a_pause_that_was_asked_for_holds_everybody_back() -> None:
    """No call begins earlier, none is sent again earlier; a longer pause than two minutes is not believed."""
    limit, clock = limit_of(4)
    throttle(limit, retry_after=7.5)
    assert limit.pause_seconds == 7.5
    succeed(limit)
    assert clock.now == 7.5
    throttle(limit, retry_after=2.0)
    limit.resend()
    assert clock.now == 9.5
    throttle(limit, retry_after=86400.0)
    succeed(limit)
    assert clock.now == 9.5 + LONGEST_PAUSE_SECONDS


def test_never_more_threads_than_the_window_are_inside() -> None:
    """Twelve threads, three at once and no more; or one at once; all have their turn."""
    limit = AdaptiveLimit(3)
    inside: list[int] = []
    most: list[int] = []
    changing = threading.Lock()

    def work(_: int) -> None:
        with limit.slot():
            with changing:
                inside.append(1)
                most.append(len(inside))
            time.sleep(0.001)
            with changing:
                inside.pop()

    for allowed, calls in ((3, 60), (1, 12)):
        most.clear()
        with ThreadPoolExecutor(12) as pool:
            list(pool.map(work, range(calls)))
        assert len(most) == calls
        assert max(most) == allowed
        limit = AdaptiveLimit(1)


def test_a_limit_below_one_is_refused() -> None:
    """Nothing would ever be called."""
    with pytest.raises(ValueError, match="at least one"):
        AdaptiveLimit(0)
