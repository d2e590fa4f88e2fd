"""Lease, epoch, fence, pointer, marking and gc as an explicit-state model, and what must hold in each state.

Two mergers, each with one batch, and a collector. Steps are those at which the table or the bucket is touched. A
conditional write is a message that the bucket takes at any later moment, also after its sender died or gave up; an
answer may be lost. A lock that is held may be taken over at any moment: this is what a lease of any length allows.
`Plan` removes guards one by one, to show that the model notices.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from embedding_assets_tests.protocol.search import explore

FREE = -1
COLLECTOR = 2
NOTHING: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Plan:
    """How far to look, and which guards are in force."""

    takeovers: int = 4
    versions: int = 4
    crashes: int = 1
    if_match: bool = True
    fence: bool = True
    announce: bool = True
    manifest_first: bool = True
    mark_published_only: bool = True


class Version(NamedTuple):
    """A prefix of the bucket. `batches` is all that its chain accounts for."""

    parent: int
    epoch: int
    batches: frozenset[int]
    files: bool
    manifest: bool


class Message(NamedTuple):
    """A replacement of the pointer that is on its way."""

    etag: int
    version: int
    epoch: int


class Actor(NamedTuple):
    """Where an actor is: its next step, the epoch of its lock, and what it saw or built."""

    at: str = "idle"
    epoch: int = 0
    etag: int = 0
    base: int = 0
    built: int = 0
    swept: frozenset[int] = NOTHING


class State(NamedTuple):
    """The table, the bucket, and the three actors."""

    owner: int = FREE
    lock_epoch: int = 0
    version: int = 0
    epoch: int = 0
    fence: int = 0
    etag: int = 0
    versions: tuple[Version, ...] = (Version(0, 0, NOTHING, True, True),)
    marked: frozenset[int] = NOTHING
    sent: frozenset[Message] = frozenset()
    actors: tuple[Actor, ...] = (Actor(), Actor(), Actor())
    crashes: int = 0

    @property
    def published(self) -> frozenset[int]:
        """The batches of the pointer's chain."""
        return self.versions[self.version].batches

    def chain(self) -> Iterator[int]:
        """The published version and those before it."""
        version = self.version
        while version:
            yield version
            version = self.versions[version].parent
        yield 0

    def with_actor(self, number: int, actor: Actor) -> State:
        """With one actor moved on."""
        actors = list(self.actors)
        actors[number] = actor
        return self._replace(actors=tuple(actors))


def publish(plan: Plan) -> int:
    """Try every order of steps; the number of states. Raises Violation with the shortest way to it."""
    return explore(
        State(), lambda state: successors(state, plan), broken_invariant, lambda state: state.marked == {0, 1}
    )


def broken_invariant(before: State, after: State) -> str | None:
    """The first invariant that does not hold after a step, in words."""
    current = after.versions[after.version]
    if after.epoch < before.epoch:
        return "the epoch of the pointer fell"
    if not current.files or not current.manifest:
        return "the pointer names a version that is not whole"
    if not after.marked <= after.published:
        return "a batch is marked that is not published"
    if not before.published <= after.published:
        return "what was published is lost"
    if after.version != before.version and current.parent != before.version:
        return "a version was published that was not built on the one before it"
    counted = sum(1 for version in after.chain() if version)
    if counted > len(after.published):
        return "a batch is in the chain twice"
    return None


def successors(state: State, plan: Plan) -> Iterator[tuple[str, State]]:
    """Every step that is possible now, with its name."""
    for message in state.sent:
        yield f"bucket takes version {message.version}", _deliver(state, message, plan)
    if plan.mark_published_only and state.marked != state.published:
        yield "mark", state._replace(marked=state.published)
    for number, actor in enumerate(state.actors):
        if actor.at != "idle" and state.crashes < plan.crashes:
            yield f"{number} dies", state.with_actor(number, Actor())._replace(crashes=state.crashes + 1)
        for after in _step(state, number, actor, plan):
            yield f"{number} {actor.at}", after


def _deliver(state: State, message: Message, plan: Plan) -> State:
    after = state._replace(sent=state.sent - {message})
    if plan.if_match and message.etag != state.etag:
        return after
    return after._replace(version=message.version, epoch=message.epoch, fence=message.epoch, etag=state.etag + 1)


def _step(state: State, number: int, actor: Actor, plan: Plan) -> Iterator[State]:
    if actor.at == "idle":
        yield from _acquire(state, number, plan)
        return
    looks = actor.at in ("fence", "read", "announce")
    if looks and max(state.epoch, state.fence) > actor.epoch:
        yield state.with_actor(number, Actor())
        return
    match actor.at:
        case "fence":
            at = "announce" if number == COLLECTOR else "read"
            fenced = state._replace(fence=actor.epoch, etag=state.etag + 1) if plan.fence else state
            yield fenced.with_actor(number, actor._replace(at=at))
        case "read":
            there = number in state.published
            at = "release" if there else "upload"
            yield state.with_actor(number, actor._replace(at=at, etag=state.etag, base=state.version))
        case "upload" if len(state.versions) <= plan.versions:
            batches = state.versions[actor.base].batches | {number}
            built = Version(actor.base, actor.epoch, batches, files=True, manifest=not plan.manifest_first)
            after = state._replace(versions=(*state.versions, built))
            if not plan.manifest_first:
                after = after._replace(versions=(*state.versions, built._replace(manifest=False)))
            yield after.with_actor(number, actor._replace(at="complete", built=len(state.versions)))
        case "complete":
            after = _with_manifest(state, actor.built) if plan.manifest_first else state
            if not plan.mark_published_only:
                after = after._replace(marked=after.marked | {number})
            yield after.with_actor(number, actor._replace(at="send"))
        case "send":
            message = Message(actor.etag, actor.built, actor.epoch)
            yield state._replace(sent=state.sent | {message}).with_actor(number, actor._replace(at="look"))
        case "look":
            at = "release" if actor.built in set(state.chain()) else "read"
            yield state.with_actor(number, actor._replace(at=at))
        case "announce":
            swept = frozenset(
                index
                for index, version in enumerate(state.versions)
                if version.files and index != state.version and version.epoch < actor.epoch
            )
            after = state._replace(etag=state.etag + 1) if plan.announce else state
            yield after.with_actor(number, actor._replace(at="sweep", swept=swept))
        case "sweep":
            kept = tuple(
                version._replace(files=version.files and index not in actor.swept)
                for index, version in enumerate(state.versions)
            )
            yield state._replace(versions=kept).with_actor(number, actor._replace(at="release"))
        case "release":
            mine = state.owner == number and state.lock_epoch == actor.epoch
            yield (state._replace(owner=FREE) if mine else state).with_actor(number, Actor())


def _acquire(state: State, number: int, plan: Plan) -> Iterator[State]:
    if number in state.published or state.lock_epoch >= plan.takeovers:
        return
    epoch = max(state.lock_epoch, state.epoch, state.fence) + 1
    if number == COLLECTOR and all(not one.files or i == state.version for i, one in enumerate(state.versions)):
        return
    first = "announce" if number == COLLECTOR else "read"
    at = first if state.owner == FREE else "fence"
    yield state._replace(owner=number, lock_epoch=epoch).with_actor(number, Actor(at, epoch))


def _with_manifest(state: State, built: int) -> State:
    versions = list(state.versions)
    versions[built] = versions[built]._replace(manifest=True)
    return state._replace(versions=tuple(versions))
