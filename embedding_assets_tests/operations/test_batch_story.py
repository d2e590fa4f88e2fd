"""The story of one batch: right for every outcome, with figures that balance and a command that goes on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from embedding_assets.ledger.batch_summary import format_instant
from embedding_assets.operations.batch_story import Balance, balance_of, tell_story
from embedding_assets.operations.facts import BatchFacts
from embedding_assets_tests.operations.rows import (
    NOW,
    SUBMITTED,
    ended,
    errors,
    facts,
    polled,
    published,
    row,
)

OLD = NOW - timedelta(hours=23)
PARTLY = ended("EXPIRED", 2, 0, 3, snapshot_version="7-0123456789ab")
SOME_FAILED = ended("COMPLETED", 97, 2, 1)

OUTCOMES: dict[str, tuple[BatchFacts, str, str, str | None]] = {
    "all good": (
        facts(ended("COMPLETED", 3), publication=published()),
        "requested 3 = 3 embedded + 0 failed + 0 unfinished",
        "nothing: it is finished",
        None,
    ),
    "some failed, a retry helps": (
        facts(SOME_FAILED, publication=published(), errors=errors((2, "server_error", True), (1, "bad", False))),
        "requested 100 = 97 embedded + 2 failed + 1 unfinished",
        "2 of its requests can be sent again",
        "embedding-assets resubmit --batch b",
    ),
    "some failed, no retry helps": (
        facts(ended("COMPLETED", 1, 1), publication=published(), errors=errors((1, "invalid", False))),
        "requested 2 = 1 embedded + 1 failed + 0 unfinished",
        "no retry can help its 1 request",
        None,
    ),
    "every request failed": (
        facts(ended("FAILED", 0, 2), errors=errors((2, "rate_limit", True))),
        "requested 2 = 0 embedded + 2 failed + 0 unfinished",
        "2 of its requests",
        "embedding-assets resubmit --batch b",
    ),
    "expired with partial output": (
        facts(PARTLY, publication=published()),
        "requested 5 = 2 embedded + 0 failed + 3 unfinished",
        "3 of its requests",
        "embedding-assets resubmit --batch b",
    ),
    "cancelled with nothing": (
        facts(ended("CANCELLED", 0, 0, 4)),
        "requested 4 = 0 embedded + 0 failed + 4 unfinished",
        "4 of its requests",
        "embedding-assets resubmit --batch b",
    ),
    "submitted again": (
        facts(ended("EXPIRED", 0, 0, 4, resubmitted_as="child")),
        "requested 4 = 0 embedded + 0 failed + 4 unfinished",
        "submitted again",
        "embedding-assets status --batch child",
    ),
    "unknown to OpenAI, nothing on record": (
        facts(ended("FAILED", 0, error="OpenAI does not know this batch")),
        "what it requested is not known; nothing is embedded",
        "OpenAI does not know this batch",
        None,
    ),
    "withdrawn": (
        facts(ended("COMPLETED", 3), publication=published(without="8-x")),
        "requested 3 = 3 embedded",
        "unless the withdrawn records",
        "embedding-assets reprocess --batch b",
    ),
    "ended by hand": (facts(row("FAILED")), "how much it requested is not known yet", "submit the records", None),
    "completed, written by another program": (facts(row("COMPLETED")), "not known yet", "it is finished", None),
    "deletions, to come": (
        facts(row("PENDING", openai_batch_id="deletion", deletion_count=2)),
        "requested nothing",
        "takes its records out",
        "embedding-assets ingest",
    ),
    "just submitted": (
        facts(row("PENDING", request_count=5)),
        "requested 5; what became of it is not known yet",
        "after OpenAI has finished",
        "embedding-assets ingest",
    ),
    "cancelling": (
        facts(row("CANCELING"), result=polled("wait", batch_status="cancelling")),
        "how much it requested is not known yet",
        "after OpenAI has finished",
        "embedding-assets ingest",
    ),
    "late": (
        facts(row("IN_PROGRESS", submitted_at=OLD)),
        "not known yet",
        "live for 23h00m",
        "embedding-assets ingest",
    ),
    "set aside": (
        facts(row("PENDING", set_aside="failed 3 times, last: no", submitted_at=OLD)),
        "not known yet",
        "failed 3 times, last: no",
        "embedding-assets reset --batch b --status PENDING",
    ),
    "failed once on its own": (
        facts(row("PENDING", ingest_attempts=1, error="throttled"), result=polled("error")),
        "not known yet",
        "1 of 3 tries failed (throttled)",
        "embedding-assets ingest",
    ),
    "polled, not published": (
        facts(row("PENDING", request_count=3), result=polled("process_results", 2, 1, 0)),
        "requested 3 = 2 embedded + 1 failed + 0 unfinished (as polled; not marked yet)",
        "not published yet",
        "embedding-assets ingest",
    ),
    "published, not marked": (
        facts(row("PENDING"), result=polled("process_results", 2, 0, 0), publication=published(marked=False)),
        "2 embedded",
        "the next ingest marks it",
        "embedding-assets ingest",
    ),
    "missing": (
        facts(row("PENDING", missing_since=SUBMITTED, error="OpenAI does not know this batch")),
        "not known yet",
        "OpenAI does not know this batch, since 2026-03-04T10:00:00Z; each ingest looks again",
        "embedding-assets ingest",
    ),
    "a status that we do not know": (
        facts(row("PENDING", openai_status="Paused")),
        "not known yet",
        "OpenAI says 'Paused'",
        "embedding-assets ingest",
    ),
    "gone after the grace": (
        facts(
            ended("FAILED", 0, 0, 2, retryable_count=2),
            result=polled("handle_failure", 0, 0, 2, missing=True, message="gone"),
        ),
        "2 unfinished",
        "gone; looking again costs nothing (if that does not help, `embedding-assets resubmit --batch b`",
        "embedding-assets reprocess --batch b",
    ),
    "gone and old": (
        facts(
            ended("FAILED", 0, 0, 2, retryable_count=2, submitted_at=NOW - timedelta(days=31)),
            result=polled("handle_failure", 0, 0, 2, missing=True, message="gone"),
        ),
        "2 unfinished",
        "2 of its requests can be sent again",
        "embedding-assets resubmit --batch b",
    ),
    "records that do not fit": (
        facts(
            ended("FAILED", 0, 0, 20, retryable_count=0),
            result=polled("handle_failure", 0, 0, 20, records_misfit=True, message="10 lines, not 20"),
        ),
        "requested 20",
        "its records do not fit (10 lines, not 20)",
        "embedding-assets reprocess --batch b",
    ),
    "answers to other ids": (
        facts(
            ended("COMPLETED", 2, 0, 1, retryable_count=1),
            result=polled("process_results", 2, 0, 1, unknown_count=1),
        ),
        "1 unfinished",
        "1 answer is to no request, 1 request without an answer",
        "embedding-assets reprocess --batch b",
    ),
    "opened again": (
        facts(
            row("PENDING", generation=1, embedded_count=3, request_count=3),
            result=polled("process_results", 3, 0, 0),
        ),
        "requested 3; what became of it is not known yet",
        "opened again",
        "embedding-assets ingest",
    ),
}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_is_told(outcome: str) -> None:
    """The balance, why, and the command; nothing that is not known is told as a number."""
    known, balance, why, command = OUTCOMES[outcome]
    story = tell_story(known, NOW)
    assert balance in story.balance.summary
    assert why in story.next.why
    assert story.next.command == command
    assert story.late == (outcome == "late")
    told = story.document()
    assert told["balance"]["balanced"] in (True, None)
    assert told["next"] == {"why": story.next.why, "command": command}


def test_what_does_not_balance_is_told() -> None:
    """A request that is not accounted for is no rounding error."""
    lost = balance_of(facts(ended("COMPLETED", 97, 2, 0, request_count=100)))
    assert lost.balanced is False
    assert lost.summary == ("requested 100, but 97 embedded + 2 failed + 0 unfinished = 99: this does not balance")


def test_the_poll_of_an_earlier_generation_says_nothing() -> None:
    """What was polled before a batch was opened again is not what will come of it."""
    again = facts(row("PENDING", generation=2), result=polled("process_results", 3, 0, 0, generation=1))
    assert balance_of(again) == Balance(None, None, None, None, "none")
    now = facts(row("PENDING", generation=2), result=polled("process_results", 3, 0, 0, generation=2))
    assert balance_of(now) == Balance(3, 3, 0, 0, "poll")


def test_the_timeline_is_in_order_and_has_the_family() -> None:
    """Parents, the batch, its poll, its version, its mark, and what it was submitted again as."""
    parent = ended("EXPIRED", 0, 0, 2, batch_id="parent", submitted_at=SUBMITTED - timedelta(days=1))
    child = row("PENDING", "child", submitted_at=NOW, attempt=3)
    own = ended("EXPIRED", 1, 0, 1, attempt=2, parent_batch_id="parent", resubmitted_as="child", precedence_at=NOW)
    polled_at = NOW - timedelta(minutes=50)
    story = tell_story(
        facts(
            own,
            attempts=(parent, own, child),
            result=polled("process_partial", 1, 0, 1, batch_status="expired"),
            polled_at=polled_at,
            publication=published(),
        ),
        NOW,
    )
    told: list[tuple[Any, str]] = [(one.at, one.what) for one in story.timeline]
    assert [what for _, what in told] == [
        "parent: batch parent, EXPIRED",
        "submitted to OpenAI as openai-b, attempt 2",
        "planned in execution 20260304T110000Z-0123abcd",
        "polled: OpenAI's status expired (process_partial)",
        "published in version 7-0123456789ab",
        "marked EXPIRED",
        "submitted again: batch child, attempt 3, PENDING",
    ]
    assert [at for at, _ in told] == sorted(at for at, _ in told)


def test_what_happened_within_one_second_is_in_its_natural_order() -> None:
    """S3 and the id of an execution know only the second: planned comes before polled all the same."""
    within = published().created_at.replace(microsecond=0)
    own = ended("COMPLETED", 1, submitted_at=within, completed_at=format_instant(within))
    execution = f"{within:%Y%m%dT%H%M%SZ}-0123abcd"
    result = polled("process_results", 1, 0, 0)
    version = published(created_at=within, execution_id=execution)
    story = tell_story(facts(own, result=result, polled_at=within, publication=version), NOW)
    assert [one.what.split()[0] for one in story.timeline] == [
        "submitted",
        "planned",
        "polled:",
        "published",
        "marked",
    ]
