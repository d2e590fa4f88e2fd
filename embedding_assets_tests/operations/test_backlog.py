"""The backlog: sums that say what they do not know, and what wants attention."""

from __future__ import annotations

from datetime import timedelta

import pytest

from embedding_assets.ledger.batch_summary import BatchSummary
from embedding_assets.operations.ages import age_text
from embedding_assets.operations.backlog import groups, remarks, totals
from embedding_assets.operations.costs import batch_cost
from embedding_assets.text.usd import usd_text
from embedding_assets_tests.operations.rows import NOW, ended, row

DATABASES = {"LINE_EMBEDDING": "lines", "WORD_EMBEDDING": "words"}
OLD = NOW - timedelta(hours=21)
SMALL = "text-embedding-3-small"


def test_a_group_for_each_database_and_status() -> None:
    """In the order of the databases and statuses; a type that nobody configured is named as it is."""
    rows = [
        ended("COMPLETED", 3, 1, batch_type="WORD_EMBEDDING"),
        row("IN_PROGRESS", request_count=7),
        row("IN_PROGRESS", submitted_at=OLD),
        row("PENDING", batch_type="ODD"),
        ended("COMPLETED", 5, token_count=1_000_000, model=SMALL),
    ]
    found = groups(rows, DATABASES)
    assert [(one.database, one.status, one.batches) for one in found] == [
        ("lines", "IN_PROGRESS", 2),
        ("lines", "COMPLETED", 1),
        ("words", "COMPLETED", 1),
        ("ODD", "PENDING", 1),
    ]
    going, done, words, odd = found
    assert (going.oldest, going.requested, going.requested_unknown, going.requested_text) == (OLD, 7, 1, "7+")
    assert (done.cost.usd, done.cost.unknown, done.cost.summary) == (0.01, 0, "0.0100")
    assert (words.requested, words.embedded, words.failed, words.cost.summary) == (4, 3, 1, "?")
    assert odd.requested_text == "?"
    told = going.document(NOW)
    assert (told["oldest_age_seconds"], told["requested"], told["cost_unknown"]) == (21 * 3600, 7, 2)


def test_a_record_that_was_sent_again_counts_once() -> None:
    """Two of five requests did not finish, one failed; two of the three were sent again and one of them failed."""
    parent = ended("EXPIRED", 2, 1, 2, batch_id="parent", request_count=5, token_count=500_000, model=SMALL)
    child = ended("COMPLETED", 1, 1, 0, batch_id="child", parent_batch_id="parent", request_count=2)
    whole = totals([parent, child, row(batch_id="new", request_count=4)])
    assert (whole.batches, whole.requested, whole.embedded, whole.sent_again) == (3, 9, 3, 2)
    assert (whole.failed, whole.unfinished) == (2, 0)
    assert whole.cost.usd == pytest.approx(0.002)
    assert whole.cost.unknown == 2
    alone = totals([child])
    assert (alone.requested, alone.sent_again) == (2, 0), "its parent is not counted here"


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (0.0, "0"),
        (12.34567, "12.3457"),
        (0.0123, "0.0123"),
        (0.000042, "0.000042"),
        (4.2e-7, "0.00000042"),
        (1e-12, "0.000000000"),
    ],
)
def test_no_cost_is_rounded_to_nothing(usd: float, text: str) -> None:
    """Two digits that are not zero, down to less than a token costs."""
    assert usd_text(usd) == text


@pytest.mark.parametrize(
    ("one", "usd"),
    [
        (row(token_count=2_000_000, model=SMALL), 0.02),
        (row(token_count=2_000_000, model="another"), None),
        (row(token_count=2_000_000), None),
        (row(model=SMALL), None),
        (ended("EXPIRED", 1, 0, 3, token_count=2_000_000, model=SMALL), 0.005),
        (ended("CANCELLED", 0, 0, 3, token_count=2_000_000, model=SMALL), 0.0),
        (row("FAILED", token_count=2_000_000, model=SMALL), 0.02),
    ],
)
def test_what_a_batch_costs(one: BatchSummary, usd: float | None) -> None:
    """By its tokens at batch price; what was not answered is not billed; unknown is not nothing."""
    assert batch_cost(one) == (None if usd is None else pytest.approx(usd))


@pytest.mark.parametrize(
    ("one", "kind", "command"),
    [
        (row("PENDING"), None, None),
        (ended("COMPLETED", 3), None, None),
        (ended("EXPIRED", 0, 0, 3, resubmitted_as="child"), None, None),
        (row("IN_PROGRESS", submitted_at=OLD), "late", "embedding-assets status --batch b"),
        (
            row("PENDING", set_aside="too long", submitted_at=OLD),
            "set aside",
            "embedding-assets reset --batch b --status PENDING",
        ),
        (row("PENDING", error="throttled", ingest_attempts=1), "trouble", "embedding-assets ingest"),
        (ended("COMPLETED", 3, batch_id="out"), "withdrawn", "embedding-assets reprocess --batch out"),
        (ended("EXPIRED", 1, 0, 3), "not embedded", "embedding-assets resubmit --batch b"),
        (ended("COMPLETED", 1, 2, 0), "not embedded", "embedding-assets status --batch b"),
        (ended("FAILED", 0, 0, 2, error="invalid"), "not embedded", "embedding-assets status --batch b"),
        (ended("FAILED", 0, error="unknown"), "ended", "embedding-assets status --batch b"),
        (ended("EXPIRED", 1, 0, 3, acknowledged="not needed"), None, None),
        (ended("FAILED", 0, error="unknown", acknowledged="not needed"), None, None),
        (
            row("PENDING", set_aside="why", acknowledged="old"),
            "set aside",
            "embedding-assets reset --batch b --status PENDING",
        ),
    ],
)
def test_what_wants_attention(one: BatchSummary, kind: str | None, command: str | None) -> None:
    """One remark a batch, of its most pressing kind, with a command that goes on."""
    found = remarks([one], {"out": "8-x"}, NOW)
    assert [(remark.kind, remark.command) for remark in found] == ([(kind, command)] if kind else [])


def test_the_most_pressing_comes_first() -> None:
    """Set aside before late before what merely failed; the oldest first."""
    rows = [
        ended("EXPIRED", 0, 0, 1, batch_id="failed"),
        row("IN_PROGRESS", "late", submitted_at=OLD),
        row("IN_PROGRESS", "later", submitted_at=OLD - timedelta(hours=1)),
        row("PENDING", "aside", set_aside="why"),
    ]
    assert [remark.batch_id for remark in remarks(rows, {}, NOW)] == ["aside", "later", "late", "failed"]


def test_an_age_is_hours_and_minutes() -> None:
    """Clocks that are apart make no negative age."""
    assert (age_text(timedelta(hours=30, minutes=5)), age_text(-timedelta(hours=1))) == ("30h05m", "0h00m")
    assert (age_text(timedelta(hours=99, minutes=59)), age_text(timedelta(hours=100))) == ("99h59m", "4d")
