"""Progress of long work, a line at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

Progress = Callable[[str], None]
"""Takes one line for the person who waits."""

FIRST_RATE_SECONDS = 2.0
"""Before that a rate says nothing."""


@dataclass(frozen=True)
class Pace:
    """How far work of `total` parts is: `12 of 62 batches polled, 3.1 a second, about 16 s left`."""

    total: int
    what: str
    started: float = field(default_factory=time.monotonic)

    def line(self, done: int) -> str:
        """With rate and time left as soon as there is one, and while something is left."""
        text = f"{done:,} of {self.total:,} {self.what}"
        passed = time.monotonic() - self.started
        if passed < FIRST_RATE_SECONDS or not 0 < done < self.total:
            return text
        rate = done / passed
        return f"{text}, {_rate(rate)}, about {_duration((self.total - done) / rate)} left"


def _rate(a_second: float) -> str:
    return f"{a_second:.1f} a second" if a_second >= 0.1 else f"{a_second * 60:.1f} a minute"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
