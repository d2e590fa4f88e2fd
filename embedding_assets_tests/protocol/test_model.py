"""No order of the steps breaks an invariant; without a guard, one is found that does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from embedding_assets_tests.protocol.model import Plan, publish
from embedding_assets_tests.protocol.search import Violation

SMALL = Plan(takeovers=3, versions=2, crashes=0)

PLANTED = [
    (replace(SMALL, if_match=False), "names a version that is not whole"),
    (replace(SMALL, fence=False, announce=False), "names a version that is not whole"),
    (replace(SMALL, manifest_first=False), "names a version that is not whole"),
    (replace(SMALL, mark_published_only=False), "a batch is marked that is not published"),
]


@pytest.mark.parametrize("plan", [SMALL, replace(SMALL, takeovers=2, crashes=1)])
def test_the_protocol_holds(plan: Plan) -> None:
    """Three holders of the lock and two versions; and two holders, one of which dies anywhere."""
    assert publish(plan) > 5_000


@pytest.mark.long
def test_the_protocol_holds_further() -> None:
    """Three holders, three versions and a death: half a million states."""
    assert publish(Plan(takeovers=3, versions=3, crashes=1)) > 500_000


@pytest.mark.parametrize(("plan", "broken"), PLANTED)
def test_a_guard_that_is_missing_is_noticed(plan: Plan, broken: str) -> None:
    """With the shortest steps that lead there, which begin with the merge of the first batch."""
    with pytest.raises(Violation, match=rf"{broken}: .*0 read \| 0 upload"):
        publish(plan)


@pytest.mark.parametrize("plan", [replace(SMALL, fence=False), replace(SMALL, announce=False)])
def test_the_fence_and_the_announcement_stand_in_for_each_other(plan: Plan) -> None:
    """Either makes a late commit of a former holder fail before its files are swept."""
    assert publish(plan) > 5_000
