"""Cases: a fault at each call site that runs tell of, then drained, then all invariants."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable

from embedding_assets.errors import EmbeddingAssetsError
from embedding_assets_tests.faults.call_sites import CallSite
from embedding_assets_tests.faults.process import Fault, Planned, Process, run_as
from embedding_assets_tests.faults.scene import Scene

LOG = logging.getLogger(__name__)
LOG.setLevel(logging.INFO)


class Matrix:
    """Cases of one scene: what was planned, what struck, which sites only appear once something went wrong.

    Sites `known` from another scene are left to that one.
    """

    def __init__(self, scene: Scene, known: Collection[CallSite] = ()) -> None:
        self.scene = scene
        self.known = frozenset(known)
        self.sites: dict[CallSite, int] = {}
        self.later: dict[CallSite, Planned] = {}
        self.struck: list[Planned] = []
        self.wrong: list[str] = []

    def record(self) -> None:
        """Find the call sites of an undisturbed run, and how often it comes by each."""
        self.scene.restore()
        process = Process()
        run_as(process, self.scene.act)
        self.sites = {site: seen for site, seen in sorted(process.seen.items()) if site not in self.known}
        self.sites |= dict.fromkeys(self.scene.drain() - self.known - self.sites.keys(), 1)
        self.scene.check()

    def case(self, first: Planned, second: Planned | None = None) -> None:
        """One fault, and perhaps a second in a run after or during it; then drained, all invariants hold."""
        self.scene.restore()
        recovering = Process(second)

        def recover() -> None:
            self._note(first, self.scene.drain(Process() if recovering.struck else recovering))

        process = Process(first, while_paused=recover)
        try:
            self._disturbed(process)
            recover()
            self.scene.check(first)
        except Exception as error:  # noqa: BLE001 - whatever went wrong is told, and the other cases go on
            told = " ".join(str(error).split())[:600]
            self.wrong.append(f"{first} {second or ''}: {type(error).__name__}: {told}")
            LOG.warning("wrong: %s", self.wrong[-1])
        planned = ((first, process), (second, recovering))
        self.struck += [one for one, by in planned if one is not None and by.struck]
        LOG.info("%d struck, %d wrong: %s %s", len(self.struck), len(self.wrong), first, second or "")

    def _disturbed(self, process: Process) -> None:
        """Errors of ours are what a fault may come to; anything else is wrong."""
        try:
            run_as(process, self.scene.act)
        except EmbeddingAssetsError:
            return

    def each_once(self) -> None:
        """One fault for each site, all kinds of faults in turn; then the sites that only appear after a fault."""
        faults = list(Fault)
        for number, site in enumerate(self.sites):
            self.case(Planned(site, faults[number % len(faults)]))
        for site, first in sorted(self.later.items()):
            self.case(first, Planned(site, Fault.CRASH_BEFORE))

    def whole(self) -> None:
        """Each fault at the first and at the second call of each site."""
        for site, seen in self.sites.items():
            for fault in Fault:
                for occurrence in range(1, min(seen, 2) + 1):
                    self.case(Planned(site, fault, occurrence))
        for site, first in sorted(self.later.items()):
            for fault in Fault:
                self.case(first, Planned(site, fault))

    def told(self) -> str:
        """The figures."""
        return (
            f"{len(self.sites)} call sites and {len(self.later)} more after faults, "
            f"{len(self.struck)} faults struck, {len(self.wrong)} went wrong"
        )

    def uncovered(self) -> set[CallSite]:
        """Sites that were seen, and that no fault struck."""
        return (self.sites.keys() | self.later.keys()) - {planned.site for planned in self.struck}

    def _note(self, first: Planned, seen: Iterable[CallSite]) -> None:
        for site in seen:
            if site not in self.sites and site not in self.known:
                self.later.setdefault(site, first)
