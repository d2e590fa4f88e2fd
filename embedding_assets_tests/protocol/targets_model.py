"""A target that follows what is published, as an explicit-state model: versions, rollbacks, two writers, deaths.

A version has the values of two records. It is published with one of them changed, or as the content of an older
one again (a rollback). A writer brings the target from the version that the table says it holds to the newest,
one record at a time, and may die, or lose its lock to the other, between any two calls. A call and the look at
the lock before it are one step here: what a process does that stands still between the two is not promised
(`targets.sync`). `TargetPlan` removes guards one by one, to show that the model notices.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from embedding_assets_tests.protocol.search import explore

FREE = -1
NOTHING: frozenset[int] = frozenset()
RECORDS = (0, 1)


@dataclass(frozen=True)
class TargetPlan:
    """How far to look, and which guards are in force."""

    versions: int = 3
    takeovers: int = 3
    crashes: int = 1
    begin_first: bool = True
    look_at_lock: bool = True
    finish_last: bool = True
    marking_waits: bool = True


class Writer(NamedTuple):
    """Where a writer is: its next step, the epoch of its lock, the version that it brings, what is left of it."""

    at: str = "idle"
    epoch: int = 0
    version: int = 0
    left: frozenset[int] = NOTHING


class Following(NamedTuple):
    """What is published, what the target has, what the table says of it, and the two writers."""

    versions: tuple[tuple[int, int], ...] = ((0, 0),)
    target: tuple[int, int] = (0, 0)
    applied: int = 0
    applying: int | None = None
    marked: int = 0
    owner: int = FREE
    epoch: int = 0
    writers: tuple[Writer, Writer] = (Writer(), Writer())
    crashes: int = 0

    def with_writer(self, number: int, writer: Writer) -> Following:
        """With one writer moved on."""
        other = self.writers[1 - number]
        return self._replace(writers=(writer, other) if number == 0 else (other, writer))


def follow(plan: TargetPlan) -> int:
    """Try every order of steps; the number of states. Raises Violation with the shortest way to it."""
    whole = plan.versions - 1
    return explore(
        Following(),
        lambda state: _successors(state, plan),
        lambda _, after: _broken(after),
        lambda state: state.marked == whole,
    )


def _broken(state: Following) -> str | None:
    """The first invariant that does not hold, in words."""
    if state.applying is None and state.target != state.versions[state.applied]:
        return "the target has other records than the table says"
    if state.marked > state.applied:
        return "a batch is marked that the target does not have"
    return None


def _successors(state: Following, plan: TargetPlan) -> Iterator[tuple[str, Following]]:
    newest = len(state.versions)
    if newest < plan.versions:
        last = state.versions[-1]
        for changed in ((newest, last[1]), (last[0], newest), *state.versions[:-1]):
            yield f"publish {changed}", state._replace(versions=(*state.versions, changed))
    ready = state.applied if plan.marking_waits else newest - 1
    if state.marked < ready:
        yield "mark", state._replace(marked=ready)
    for number, writer in enumerate(state.writers):
        if writer.at == "idle":
            if state.applied < newest - 1 and state.epoch < plan.takeovers:
                taken = state._replace(owner=number, epoch=state.epoch + 1)
                yield f"{number} takes the lock", taken.with_writer(number, Writer("plan", state.epoch + 1))
            continue
        if state.crashes < plan.crashes:
            dead = state.with_writer(number, Writer())._replace(crashes=state.crashes + 1)
            yield f"{number} dies", dead
        yield f"{number} {writer.at}", _stepped(state, number, writer, plan)


def _stepped(state: Following, number: int, writer: Writer, plan: TargetPlan) -> Following:
    if plan.look_at_lock and (state.owner, state.epoch) != (number, writer.epoch):
        return state.with_writer(number, Writer())
    if writer.at == "plan":
        newest = len(state.versions) - 1
        since = range(state.applied, newest)
        changed = frozenset(
            record
            for record in RECORDS
            for one in since
            if state.versions[one][record] != state.versions[one + 1][record]
        )
        after = state._replace(applying=newest) if plan.begin_first else state
        if not plan.finish_last:
            after = after._replace(applied=newest, applying=None)
        return after.with_writer(number, writer._replace(at="write", version=newest, left=changed))
    if writer.left:
        record = min(writer.left)
        values = list(state.target)
        values[record] = state.versions[writer.version][record]
        after = state._replace(target=(values[0], values[1]))
        return after.with_writer(number, writer._replace(left=writer.left - {record}))
    done = state._replace(applied=writer.version, applying=None, owner=FREE)
    return done.with_writer(number, Writer())
