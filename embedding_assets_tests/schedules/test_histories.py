"""Whatever several writers do, in whatever order, wherever they die: nothing lost, nothing torn, nothing twice."""

from __future__ import annotations

from collections.abc import Callable

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from embedding_assets_tests.faults.process import ANYWHERE, Fault, Planned, Process, processes
from embedding_assets_tests.schedules.yard import Yard

IDS = st.sampled_from([f"r{number}" for number in range(6)])
RECORDS = st.dictionaries(IDS, st.integers(0, 40), min_size=1, max_size=3)
CALLS = st.integers(1, 60)
"""As many as a merge of some small batches makes."""
PAUSES = st.tuples(st.just(Fault.PAUSED), CALLS)
FAULTS = st.one_of(PAUSES, PAUSES, st.tuples(st.sampled_from(sorted(Fault)), CALLS), st.none())
"""A pause in which others go on is what a protocol is most likely to fail by."""
MEANWHILE = st.sampled_from(["everything", "rollback", "gc", "mark"])


class Histories(RuleBasedStateMachine):
    """Batches arrive; writers merge, mark, roll back and sweep, each perhaps with a fault at any of its calls.

    Now and then the pointer is lost and put back.
    """

    def __init__(self) -> None:
        super().__init__()
        self.yard = Yard()
        self.patch = pytest.MonkeyPatch()
        self.yard.patch(self.patch)
        self.threads = processes()
        self.threads.__enter__()
        self.batches = 0

    def teardown(self) -> None:
        """Everything is drained in the end, without faults."""
        try:
            self.yard.drain()
        finally:
            self.threads.__exit__(None, None, None)
            self.patch.undo()

    @initialize(first=RECORDS, second=RECORDS)
    def begins(self, first: dict[str, int], second: dict[str, int]) -> None:
        """Two versions are published already."""
        for records in (first, second):
            self.arrives(records, 1)
            self.yard.everything()

    @rule(records=RECORDS, hours=st.integers(0, 3))
    def arrives(self, records: dict[str, int], hours: int) -> None:
        """A batch is ready; ids overlap with others, precedence is in no order."""
        self.batches += 1
        self.yard.arrive(f"b{self.batches}", records, hours)

    @rule(records=RECORDS, hours=st.integers(0, 3), fault=FAULTS, meanwhile=MEANWHILE, some=st.integers(1, 4))
    def merges(
        self, records: dict[str, int], hours: int, fault: tuple[str, int] | None, meanwhile: str, some: int
    ) -> None:
        """A batch arrives, and there is an execution over some of what waits."""
        self.arrives(records, hours)
        waiting = self.yard.live()[-some:]
        self._do(lambda: self.yard.merge(waiting), fault, meanwhile)

    @rule(fault=FAULTS, meanwhile=MEANWHILE)
    def marks(self, fault: tuple[str, int] | None, meanwhile: str) -> None:
        """A tick of the completion sensor."""
        self._do(self.yard.mark, fault, meanwhile)

    @rule(fault=FAULTS, meanwhile=MEANWHILE, steps=st.integers(1, 4))
    def rolls_back(self, fault: tuple[str, int] | None, meanwhile: str, steps: int) -> None:
        """An older version is published again."""
        self._do(lambda: self.yard.rollback(steps), fault, meanwhile)

    @rule(fault=FAULTS, meanwhile=MEANWHILE, retention=st.integers(1, 3))
    def sweeps(self, fault: tuple[str, int] | None, meanwhile: str, retention: int) -> None:
        """A gc for which nothing is too young."""
        self._do(lambda: self.yard.gc(retention), fault, meanwhile)

    @rule(which=st.integers(1, 6))
    def is_reprocessed(self, which: int) -> None:
        """A batch is opened again."""
        if 0 < which <= self.batches:
            self.yard.reprocess(f"b{which}")

    @rule(fault=FAULTS, meanwhile=MEANWHILE, back=st.none() | st.integers(0, 3))
    def loses_its_pointer(self, fault: tuple[str, int] | None, meanwhile: str, back: int | None) -> None:
        """It is deleted or put back; everybody goes on as if nothing had happened, then it is repaired."""
        self.yard.lose_pointer(back)
        for work in (self.yard.mark, lambda: self.yard.gc(1), lambda: self.yard.rollback(1)):
            self.yard.quietly(work)
        self._do(lambda: self.yard.merge(self.yard.live()), fault, meanwhile)
        self._do(self.yard.repair, fault, meanwhile)
        self.yard.repair()

    @invariant()
    def holds(self) -> None:
        """At every moment."""
        self.yard.check()

    def _do(self, work: Callable[[], object], fault: tuple[str, int] | None, meanwhile: str) -> None:
        others: dict[str, Callable[[], None]] = {
            "everything": self.yard.everything,
            "rollback": lambda: self.yard.quietly(lambda: self.yard.rollback(1)),
            "gc": lambda: self.yard.quietly(lambda: self.yard.gc(1)),
            "mark": lambda: self.yard.quietly(self.yard.mark),
        }
        planned = Planned(ANYWHERE, Fault(fault[0]), fault[1]) if fault is not None else None
        self.yard.run(Process(planned, while_paused=others[meanwhile]), work)


QUICK = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    print_blob=True,
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
LONG = settings(QUICK, max_examples=1000, stateful_step_count=50, derandomize=False)


def test_histories() -> None:
    """A few dozen histories, the same ones every time."""
    run_state_machine_as_test(Histories, settings=QUICK)


@pytest.mark.long
def test_many_histories() -> None:
    """A thousand of up to 50 steps, others every time; a failure prints what reproduces it."""
    run_state_machine_as_test(Histories, settings=LONG)
