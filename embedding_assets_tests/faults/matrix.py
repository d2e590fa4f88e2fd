"""Cases: a fault at each call site that runs tell of, then drained, then all invariants."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from embedding_assets.errors import EmbeddingAssetsError
from embedding_assets_tests.faults.call_sites import CallSite
from embedding_assets_tests.faults.listed import RENEW, Listed
from embedding_assets_tests.faults.process import Fault, Planned, Process, run_as
from embedding_assets_tests.faults.scene import NotDrained, Scene

FAULTS = tuple(Fault)


@dataclass(frozen=True)
class Case:
    """One fault, and perhaps a second in a run after or during it."""

    first: Planned
    second: Planned | None = None

    def __str__(self) -> str:
        last = self.second or self.first
        words = [str(last.site), str(last.fault), f"no. {last.occurrence}" if last.occurrence > 1 else ""]
        return "-".join(word for word in words if word)


def each_once(listed: Listed) -> Iterator[Case]:
    """One fault for each site; then the sites that only appear after a fault.

    Which fault a site gets depends on its name alone: another site more changes no other case.
    """
    for site in listed.sites:
        yield Case(Planned(site, _fault_of(site)))
    for site, first in listed.later.items():
        yield Case(first, Planned(site, Fault.CRASH_BEFORE))


def whole(listed: Listed) -> Iterator[Case]:
    """Each fault at the first and at the second call of each site."""
    for site, count in listed.sites.items():
        for fault in FAULTS:
            for occurrence in range(1, count + 1):
                yield Case(Planned(site, fault, occurrence))
    for site, first in listed.later.items():
        for fault in FAULTS:
            yield Case(first, Planned(site, fault))


def record(scene: Scene) -> dict[CallSite, int]:
    """The call sites of an undisturbed run, and how often it comes by each."""
    scene.restore()
    process = Process()
    run_as(process, scene.act)
    counts = dict(process.seen)
    counts |= dict.fromkeys(scene.drain() - counts.keys(), 1)
    scene.check()
    return counts


def strike(scene: Scene, case: Case) -> set[CallSite]:
    """The case; then drained, all invariants hold. Returns the call sites of the runs that recovered."""
    scene.restore()
    recovering = Process(case.second)
    seen: set[CallSite] = set()

    def recover() -> None:
        seen.update(scene.drain(Process() if recovering.struck else recovering))

    problems: list[Exception] = []

    def meanwhile() -> None:
        try:
            recover()
        except NotDrained:
            """What is paused may hold what the others need."""
        except Exception as error:  # noqa: BLE001 - a thread's boundary: looked at below
            problems.append(error)

    process = Process(case.first, while_paused=meanwhile)
    try:
        run_as(process, scene.act)
    except EmbeddingAssetsError:
        """Errors of ours are what a fault may come to; anything else is wrong."""
    assert not problems, problems
    recover()
    scene.check(case.first)
    assert process.struck, f"no call came by {case.first.site}. {RENEW}"
    assert case.second is None or recovering.struck, f"no call came by {case.second.site}. {RENEW}"
    return seen


def find_later(scene: Scene, listed: Listed, known: Collection[CallSite]) -> dict[CallSite, Planned]:
    """The call sites that only appear once something went wrong, each with a first case that comes by it.

    What `listed` has already is looked at first, and kept if it still appears; then two faults for each site.
    """
    later: dict[CallSite, Planned] = {}
    firsts = [first for first in dict.fromkeys(listed.later.values()) if first.site in listed.sites]
    firsts += [Planned(site, _fault_of(site, turn)) for turn in (0, 3) for site in listed.sites]
    for first in dict.fromkeys(firsts):
        for site in sorted(strike(scene, Case(first)) - listed.sites.keys() - set(known)):
            later.setdefault(site, first)
    return later


def _fault_of(site: CallSite, turn: int = 0) -> Fault:
    return FAULTS[(zlib.crc32(str(site).encode()) + turn) % len(FAULTS)]
