"""What can happen to a call on its way, and the dice that decide by seed which calls it happens to.

A call is decided by the seed, by what it asks for and by how often that was asked for before: threads that run in
another order meet the same faults.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from enum import StrEnum
from typing import Literal

Service = Literal["s3", "dynamodb", "openai"]


class Fault(StrEnum):
    """What can happen to a call. All but the first five happen after it was done."""

    SLOW_DOWN = "503"
    INTERNAL = "500"
    TOO_MANY = "429 with Retry-After"
    THROTTLED = "throttled"
    RESET_BEFORE = "reset, not applied"
    RESET_IN_BODY = "reset in the middle of the answer"
    CUT = "answer shorter than its Content-Length"
    CUT_WITHOUT_LENGTH = "close-delimited answer that ends early"
    LOST = "applied, answer lost"
    SLOW = "slow"

    @property
    def refuses(self) -> bool:
        """Whether the call is answered with an error instead of being done."""
        return self in (Fault.SLOW_DOWN, Fault.INTERNAL, Fault.TOO_MANY, Fault.THROTTLED)

    @property
    def halves(self) -> bool:
        """Whether only the first half of the answer's body comes."""
        return self in (Fault.RESET_IN_BODY, Fault.CUT, Fault.CUT_WITHOUT_LENGTH)


KINDS: dict[Service, tuple[Fault, ...]] = {
    "s3": tuple(fault for fault in Fault if fault not in (Fault.TOO_MANY, Fault.THROTTLED)),
    "dynamodb": tuple(fault for fault in Fault if fault not in (Fault.SLOW_DOWN, Fault.TOO_MANY)),
    "openai": tuple(fault for fault in Fault if fault is not Fault.THROTTLED),
}

RANDOM_PARTS = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}|[0-9a-f]{12,}")
"""Execution ids, and the ends of version and delta ids: they differ from run to run."""


class Dice:
    """Decides for each call which fault strikes it: `rate` of all calls, by `seed`. Not safe for threads.

    `calls` counts all calls by service, `struck` the faults by service and kind.
    """

    def __init__(self, seed: int, rate: float) -> None:
        self.seed = seed
        self.rate = rate
        self.calls: Counter[Service] = Counter()
        self.struck: Counter[tuple[Service, Fault]] = Counter()
        self._seen: Counter[str] = Counter()

    def throw(self, service: Service, what: str) -> Fault | None:
        """The fault for the next call of `what`; None for none."""
        self.calls[service] += 1
        name = f"{service} {RANDOM_PARTS.sub('*', what)}"
        self._seen[name] += 1
        dice = random.Random(f"{self.seed} {name} {self._seen[name]}")
        if dice.random() >= self.rate:
            return None
        fault = dice.choice(KINDS[service])
        self.struck[service, fault] += 1
        return fault
