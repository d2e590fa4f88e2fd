"""A race: many writers make the same conditional write at once, round after round, and exactly one may win.

Everything that this product promises stands on that: a pointer that is replaced twice from one state loses a
version, a lock that is taken twice excludes nobody. Two winners prove that a server is wrong; none found proves
nothing, it only becomes unlikely: more rounds and writers find rarer faults.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Protocol

from embedding_assets.errors import PreconditionError, TransientError
from embedding_assets.operations.doctor.check import Finding, Status

START_SECONDS = 60.0
"""How long a round waits for all its writers to be at the start."""


class Contest(Protocol):
    """What is raced for. `write` is called by all threads of a round at once, the others by one."""

    resent: bool
    """Whether the SDK may send a write again: then one that is stored can have been answered with a refusal."""

    def begin(self, number: int) -> None:
        """Make the state from which one write of round `number` can succeed."""

    def write(self, content: str) -> None:
        """Try once. PreconditionError if another was first."""

    def stored(self) -> str | None:
        """What is there now, read consistently."""


class Answer(Enum):
    """The answer that a writer got."""

    WON = auto()
    REFUSED = auto()
    LOST = auto()


class Outcome(Enum):
    """What a round came to."""

    ONE = auto()
    SEVERAL = auto()
    NONE = auto()
    OTHER = auto()
    UNANSWERED = auto()


@dataclass(frozen=True)
class Tally:
    """The outcomes of all rounds."""

    writers: int
    outcomes: tuple[Outcome, ...]

    def finding(self, remedy: str) -> Finding:
        """In how many rounds it was not exactly one; `remedy` is what that means and what to do."""
        rounds = len(self.outcomes)
        wrong = [
            f"{words} in {count}" for outcome, words in _WRONG.items() if (count := self.outcomes.count(outcome))
        ]
        raced = f"{rounds} rounds of {self.writers} writers at once"
        if wrong:
            return Finding(Status.FAILED, f"of {raced}, {', '.join(wrong)}: {remedy}")
        unanswered = self.outcomes.count(Outcome.UNANSWERED)
        if unanswered:
            return Finding(
                Status.WARNING, f"{raced}: every answer was lost or throttled in {unanswered}; try again"
            )
        return Finding(Status.OK, f"{raced}, exactly one won each")


_WRONG: Mapping[Outcome, str] = {
    Outcome.SEVERAL: "several won",
    Outcome.NONE: "none won",
    Outcome.OTHER: "what is stored is not the winner's",
}


def race(contest: Contest, rounds: int, writers: int) -> Tally:
    """Race `rounds` times with `writers` threads. Raises ServiceError if a write fails for another reason."""
    with ThreadPoolExecutor(writers) as pool:
        return Tally(writers, tuple(_round(pool, contest, number, writers) for number in range(rounds)))


def _round(pool: ThreadPoolExecutor, contest: Contest, number: int, writers: int) -> Outcome:
    contest.begin(number)
    start = threading.Barrier(writers)
    contents = [uuid.uuid4().hex for _ in range(writers)]
    given = list(pool.map(partial(_write, contest, start), contents))
    return judge(dict(zip(contents, given, strict=True)), contest.stored(), resent=contest.resent)


def _write(contest: Contest, start: threading.Barrier, content: str) -> Answer:
    start.wait(START_SECONDS)
    try:
        contest.write(content)
    except PreconditionError:
        return Answer.REFUSED
    except TransientError:
        return Answer.LOST
    return Answer.WON


def judge(given: Mapping[str, Answer], stored: str | None, *, resent: bool) -> Outcome:
    """What a round came to: by writer's content its answer, and the content that is there afterwards.

    Whose content is there has won, also if its answer was lost.
    """
    winners = {content for content, answer in given.items() if answer is Answer.WON}
    if stored is not None and stored in given:
        winners.add(stored)
    if len(winners) > 1:
        return Outcome.SEVERAL
    if not winners:
        return Outcome.NONE if Answer.REFUSED in given.values() else Outcome.UNANSWERED
    (winner,) = winners
    honest = resent or given[winner] is not Answer.REFUSED
    return Outcome.ONE if winner == stored and honest else Outcome.OTHER
