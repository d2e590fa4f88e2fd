"""Of batches that were polled Dagster is told many at a time, but soon, and also if the polling ends badly."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest
from sqlalchemy.exc import OperationalError

from embedding_assets.dagster_defs.assets import batch_events
from embedding_assets.dagster_defs.assets.batch_events import (
    PolledBatches,
    batch_event,
    poll_event,
    reported_batches,
)
from embedding_assets.databases import LINES
from embedding_assets.errors import ServiceError
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.services import Services
from embedding_assets_tests.deltas import poll_result

Told = list[list[tuple[str, str | None]]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """By telling, the asset and partition of each event; time stands still."""
    tellings: Told = []

    def log_together(step: object, events: Sequence[dg.AssetMaterialization]) -> None:
        tellings.append([(event.asset_key.path[-1], event.partition) for event in events])

    monkeypatch.setattr(batch_events, "log_together", log_together)
    monkeypatch.setattr(batch_events, "REPORTED_WITHIN_SECONDS", 1000.0)
    return tellings


class NoStep:
    """A context that is asked only for its op and its log."""

    log = logging.getLogger(__name__)

    op_execution_context = None


def polled_batches(services: Services) -> Any:
    """What `telling` gives, outside of a step."""
    context: Any = NoStep()
    return reported_batches(services, LINES, context)


def add(polled: PolledBatches, batch_id: str) -> None:
    """One polled batch."""
    row = BatchSummary(
        batch_id=batch_id,
        openai_batch_id=f"openai-{batch_id}",
        batch_type=LINES.batch_type,
        status=Status.PENDING,
        submitted_at=datetime.now(UTC),
    )
    result = PollResult(
        batch_id=batch_id,
        openai_batch_id=row.openai_batch_id,
        batch_status="completed",
        action="wait",
        collection=LINES.collection,
        database=LINES.name,
    )
    polled.add(row, result)


def fail_after_one(services: Services) -> None:
    """A polling that ends badly."""
    with polled_batches(services) as polled:
        add(polled, "b0")
        raise ServiceError("the bucket is gone")


def both(*batch_ids: str) -> list[tuple[str, str]]:
    """The events of these batches, in their order."""
    return [(asset, batch_id) for batch_id in batch_ids for asset in ("batches", "poll_results")]


def test_all_are_told_at_the_end(services: Services, told: Told) -> None:
    """Once, both events of each batch."""
    with polled_batches(services) as polled:
        add(polled, "b0")
        add(polled, "b1")
        assert told == []
    assert told == [both("b0", "b1")]


def test_so_many_are_told_at_once(services: Services, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not more wait than allowed; nothing is told twice."""
    monkeypatch.setattr(batch_events, "REPORTED_AT_ONCE", 2)
    with polled_batches(services) as polled:
        for batch_id in ("b0", "b1", "b2", "b3"):
            add(polled, batch_id)
    assert told == [both("b0", "b1"), both("b2", "b3")]


def test_one_that_comes_late_is_told_at_once(
    services: Services, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where polling takes long, Dagster shows each batch as it is done."""
    monkeypatch.setattr(batch_events, "REPORTED_WITHIN_SECONDS", 0.0)
    with polled_batches(services) as polled:
        add(polled, "b0")
        assert told == [both("b0")]


def test_what_was_polled_is_told_where_the_polling_fails(services: Services, told: Told) -> None:
    """The error that ended it is the one that is raised."""
    with pytest.raises(ServiceError, match="the bucket is gone"):
        fail_after_one(services)
    assert told == [both("b0")]


def test_a_telling_that_fails_too_hides_no_error(
    services: Services, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever Dagster's storage raises must not make a step repeat that had failed for good."""

    def log_together(step: object, events: object) -> None:
        raise OperationalError("insert", None, Exception("database is locked"))

    monkeypatch.setattr(batch_events, "log_together", log_together)
    with pytest.raises(ServiceError, match="the bucket is gone"):
        fail_after_one(services)
    assert told == []


def test_what_could_not_be_told_is_told_with_the_next(
    services: Services, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A telling that failed has told nothing: its batches wait on."""
    tell = vars(batch_events)["log_together"]

    def locked(step: object, events: object) -> None:
        raise OperationalError("insert", None, Exception("database is locked"))

    with polled_batches(services) as polled:
        add(polled, "b0")
        monkeypatch.setattr(batch_events, "log_together", locked)
        with pytest.raises(OperationalError):
            polled.report()
        monkeypatch.setattr(batch_events, "log_together", tell)
        add(polled, "b1")
    assert told == [both("b0", "b1")]


def test_a_partition_says_what_needs_attention(services: Services) -> None:
    """How much has no embedding and the next command; a healthy batch says nothing of the kind."""
    good = poll_result("good", 3, None)
    assert "needs_attention" not in (poll_event(services, LINES, good).metadata or {})
    odd = good.model_copy(update={"failed_count": 1, "unfinished_count": 1, "retryable_count": 1})
    said = story_in(services, odd)
    assert "**2 of 5 requests have no embedding**: 5 requested = 3 embedded + 1 failed + 1 unfinished." in said
    assert "1 of them can be sent again. Next: `embedding-assets resubmit --batch good`" in said
    hopeless = odd.model_copy(update={"retryable_count": 0})
    assert "No retry can help. Next: `embedding-assets status --batch good`" in story_in(services, hopeless)


def story_in(services: Services, result: PollResult) -> str:
    """What the partition of this poll result says."""
    return str(poll_event(services, LINES, result).metadata["needs_attention"].value)


def test_a_partition_leads_to_openai(services: Services) -> None:
    """By a link, with the row's counts and error; a batch of deletions has none."""
    row = BatchSummary(
        batch_id="one",
        openai_batch_id="batch_abc",
        batch_type=LINES.batch_type,
        status=Status.EXPIRED,
        submitted_at=datetime.now(UTC),
        embedded_count=2,
        failed_count=1,
        unfinished_count=0,
        error="why",
    )
    metadata = batch_event(services, LINES, row).metadata
    assert metadata["openai"].value == "https://platform.openai.com/batches/batch_abc"
    assert [metadata[name].value for name in ("embedded", "failed", "unfinished", "error")] == [2, 1, 0, "why"]
    deletions = row.model_copy(update={"openai_batch_id": "deletion"})
    assert "openai" not in batch_event(services, LINES, deletions).metadata
