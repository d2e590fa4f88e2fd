"""A target never has other records than the table says, whoever dies; what a missing guard allows is found."""

from __future__ import annotations

from dataclasses import replace

import pytest

from embedding_assets_tests.protocol.search import Violation
from embedding_assets_tests.protocol.targets_model import TargetPlan, follow

WHOLE = TargetPlan()

PLANTED = [
    (replace(WHOLE, begin_first=False), "the target has other records than the table says"),
    (replace(WHOLE, look_at_lock=False), "the target has other records than the table says"),
    (replace(WHOLE, finish_last=False), "the target has other records than the table says"),
    (replace(WHOLE, marking_waits=False), "a batch is marked that the target does not have"),
]


@pytest.mark.parametrize("plan", [WHOLE, TargetPlan(versions=4, takeovers=2, crashes=2)])
def test_a_target_follows(plan: TargetPlan) -> None:
    """Versions and rollbacks, writers that take over and die at any call."""
    assert follow(plan) > 1_000


@pytest.mark.parametrize(("plan", "broken"), PLANTED)
def test_a_guard_that_is_missing_is_noticed(plan: TargetPlan, broken: str) -> None:
    with pytest.raises(Violation, match=broken):
        follow(plan)
