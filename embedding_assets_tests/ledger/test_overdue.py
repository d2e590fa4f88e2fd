"""Which batches are late, and how that is told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from embedding_assets.ledger.batch_summary import LIVE, BatchSummary, Status
from embedding_assets.ledger.overdue import LATE_AFTER, is_overdue, overdue_warning
from embedding_assets_tests.deltas import NOON, at


def batch(name: str = "b1", **values: Any) -> BatchSummary:
    """A live batch that was submitted at noon."""
    row: dict[str, Any] = {"status": Status.IN_PROGRESS, "submitted_at": NOON, **values}
    return BatchSummary(batch_id=name, openai_batch_id="o", batch_type="LINE_EMBEDDING", **row)


def test_after_twenty_hours_a_batch_is_late() -> None:
    """Not at them, a moment later."""
    assert timedelta(hours=20) == LATE_AFTER
    assert not is_overdue(batch(), at(20))
    assert is_overdue(batch(), at(20) + timedelta(microseconds=1))


@pytest.mark.parametrize("status", Status)
def test_only_live_ones_are_late(status: Status) -> None:
    """Whatever is final has ended."""
    assert is_overdue(batch(status=status), at(48)) is (status in LIVE)


def test_what_is_set_aside_or_was_opened_again_is_not_late() -> None:
    """The one waits for a person, the other counts from when it was opened."""
    assert not is_overdue(batch(set_aside="because"), at(48))
    assert not is_overdue(batch(reset_at=at(47)), at(48))
    assert is_overdue(batch(reset_at=at(20)), at(48))


def test_the_warning_names_the_oldest() -> None:
    """One line, at most five names, how long each has been going on."""
    assert overdue_warning([batch()], at(1)) is None
    some = [batch("young", submitted_at=at(40)), batch("b"), batch("a", submitted_at=at(-2.5))]
    assert overdue_warning(some, at(48)) == "still live: a (50 h), b (48 h); OpenAI's limit is 24 h"
    many = overdue_warning([batch(f"b{number}") for number in range(8)], at(48)) or ""
    assert (many.count("(48 h)"), "and 3 more" in many) == (5, True)
