"""The survey: which live batches are ready, by as few questions as possible."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from embedding_assets.errors import TransientError
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.openai_batches.survey import Survey, survey
from embedding_assets_tests.conftest import OpenAIServer
from embedding_assets_tests.deltas import NOON, at

LISTING = "GET /v1/batches"
SINGLE = "GET /v1/batches/{id}"


def rows(*names: str, submitted: datetime = NOON) -> list[BatchSummary]:
    return [
        BatchSummary(
            batch_id=name,
            openai_batch_id=f"openai-{name}",
            batch_type="LINE_EMBEDDING",
            status=Status.PENDING,
            submitted_at=submitted,
        )
        for name in names
    ]


def plant(server: OpenAIServer, name: str, status: str = "completed", created: datetime = NOON) -> None:
    server.plant(f"openai-{name}", status=status, created_at=int(created.timestamp()))


def names(found: tuple[BatchSummary, ...]) -> list[str]:
    return [batch.batch_id for batch in found]


def test_nothing_live_asks_nothing(openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """An empty ledger costs no request."""
    assert survey(openai, [], concurrency=4) == Survey((), (), (), None)
    assert openai_server.requests(LISTING) == 0


def test_batches_are_sorted_by_what_openai_says(openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """Ready is whatever is terminal, running the rest, each in the ledger's order; one list call for all."""
    statuses = ["completed", "failed", "expired", "cancelled"]
    live = ["validating", "in_progress", "finalizing", "cancelling"]
    for name in [*statuses, *live]:
        plant(openai_server, name, name)
    found = survey(openai, rows(*live, *statuses), concurrency=4)
    assert (names(found.ready), names(found.running), found.not_asked) == (statuses, live, ())
    assert found.oldest_ready_at == NOON
    assert (openai_server.requests(LISTING), openai_server.requests(SINGLE)) == (1, 0)


def test_what_no_list_shows_is_asked_for_singly(openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """Older than a day before its row, or unknown: retrieved; unknown is ready, so that it ends."""
    plant(openai_server, "listed", created=at(-23))
    plant(openai_server, "older", created=at(-48))
    found = survey(openai, rows("listed", "older", "unknown"), concurrency=4)
    assert names(found.ready) == ["listed", "older", "unknown"]
    assert openai_server.requests(SINGLE) == 2


def test_single_questions_are_limited_and_in_turn(openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """At most so many a tick; over the ticks each one has its turn."""
    wanted = [f"b{number}" for number in range(7)]
    asked = []
    for turn in range(4):
        found = survey(openai, rows(*wanted), concurrency=2, singles=2, turn=turn)
        assert len(found.ready) == 2
        assert len(found.not_asked) == 5
        asked += names(found.ready)
    assert set(asked) == set(wanted)
    assert openai_server.requests(SINGLE) == 8


def test_reading_stops_when_all_are_found(openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """The newest page shows them all: no further page is asked for."""
    for number in range(150):
        plant(openai_server, f"b{number}", created=NOON + timedelta(seconds=number))
    found = survey(openai, rows("b149", "b120"), concurrency=2)
    assert len(found.ready) == 2
    assert openai_server.requests(LISTING) == 1


def test_a_batch_that_openai_refuses_stops_no_other(openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """One row with an id that OpenAI answers 400 to must not keep all others from being planned."""
    plant(openai_server, "good")
    openai_server.fault(SINGLE, times=None, contains="openai-strange", status=400)
    found = survey(openai, rows("good", "strange"), concurrency=2)
    assert "good" in names(found.ready)
    assert {*names(found.ready), *names(found.running), *names(found.not_asked)} == {"good", "strange"}


def test_openai_out_of_reach_is_passing(openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """Nothing is planned on half the truth."""
    openai_server.fault("*", times=None, status=503)
    with pytest.raises(TransientError):
        survey(openai, rows("b1"), concurrency=2)


def test_how_long_the_oldest_waits(openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """The earliest end among the ready ones; an unknown batch waits since ever."""
    plant(openai_server, "late", created=at(2))
    plant(openai_server, "early", created=at(1))
    plant(openai_server, "running", "in_progress", created=at(0))
    found = survey(openai, rows("late", "early", "running"), concurrency=2)
    assert found.oldest_ready_at == at(1)
    with_unknown = survey(openai, rows("late", "unknown"), concurrency=2)
    assert with_unknown.oldest_ready_at == datetime.fromtimestamp(0, UTC)
