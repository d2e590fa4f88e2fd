"""How many calls to one service run at once: fewer after each refusal, more again after each success.

Promise: never more than `most` calls at once, never fewer than one; a pause that the service asked for holds back
every call. Method: additive increase, multiplicative decrease, as TCP's congestion control (RFC 5681): a call that
is throttled halves the window, once for all calls that were under way together; a call that succeeds adds
one call to the window for each window of successes.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from embedding_assets.errors import TransientError

LONGEST_PAUSE_SECONDS = 120.0
"""A service that asks for a longer pause is asked again after this one; the OpenAI SDK has the same bound."""

Wait = Callable[[threading.Condition, float | None], object]


def _wait(condition: threading.Condition, seconds: float | None) -> object:
    return condition.wait(seconds)


class AdaptiveLimit:
    """Limits the calls to one service; safe to use from several threads, first come first served."""

    def __init__(self, most: int, *, clock: Callable[[], float] = time.monotonic, wait: Wait = _wait) -> None:
        if most < 1:
            raise ValueError("at least one call must be allowed")
        self.most = most
        self._clock = clock
        self._wait = wait
        self._changed = threading.Condition()
        self._window = float(most)
        self._under_way = 0
        self._begun = 0
        self._halved_at = 0
        self._not_before = 0.0
        self._queue: deque[object] = deque()

    @property
    def window(self) -> int:
        """How many calls may be under way now."""
        with self._changed:
            return int(self._window)

    @property
    def pause_seconds(self) -> float:
        """How long no call begins from now on; 0 without a pause."""
        with self._changed:
            return max(0.0, self._not_before - self._clock())

    @contextmanager
    def slot(self) -> Iterator[None]:
        """One call, as the block; waits until it may begin. How the block ends says how the call ended.

        A TransientError that is `throttled` halves the window and, with `retry_after`, pauses all calls. Other
        errors, also answers such as "not found", leave the window as it is.
        """
        begun = self.begin()
        try:
            yield
        except TransientError as error:
            if error.throttled:
                self.throttled(begun, error.retry_after)
            raise
        else:
            self.succeeded()
        finally:
            self.end()

    def begin(self) -> int:
        """Wait until a call may begin, and count it as under way; whoever begins a call must end it.

        Returns its place in the order of all requests, for `throttled`.
        """
        turn = object()
        with self._changed:
            self._queue.append(turn)
            try:
                while (seconds := self._seconds_left(turn)) != 0.0:
                    self._wait(self._changed, seconds)
            finally:
                self._queue.remove(turn)
                self._changed.notify_all()
            self._under_way += 1
            self._begun += 1
            return self._begun

    def end(self) -> None:
        """A call is no longer under way."""
        with self._changed:
            self._under_way -= 1
            self._changed.notify_all()

    def succeeded(self) -> None:
        """The service answered a call."""
        with self._changed:
            self._window = min(float(self.most), self._window + 1.0 / self._window)
            self._changed.notify_all()

    def throttled(self, begun: int, retry_after: float | None = None) -> None:
        """The service refused a request because of its load; `retry_after` is how many seconds it asked to wait.

        `begun` is what `begin` or `resend` returned: a request from before the last halving tells nothing new.
        """
        with self._changed:
            if begun > self._halved_at:
                self._window = max(1.0, self._window / 2)
                self._halved_at = self._begun
            if retry_after is not None and retry_after > 0:
                pause = min(retry_after, LONGEST_PAUSE_SECONDS)
                self._not_before = max(self._not_before, self._clock() + pause)

    def resend(self) -> int:
        """Wait until no pause is left, for a call under way whose request is sent (again); return its place."""
        with self._changed:
            while (seconds := self._not_before - self._clock()) > 0:
                self._wait(self._changed, seconds)
            self._begun += 1
            return self._begun

    def _seconds_left(self, turn: object) -> float | None:
        """0 if the call of this turn may begin; else how long to wait at most, None until something changes."""
        if self._queue[0] is not turn or self._under_way >= int(self._window):
            return None
        return max(0.0, self._not_before - self._clock())
