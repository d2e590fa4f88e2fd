"""The survey: which live batches are ready, by as few questions as possible."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from embedding_assets.errors import TransientError
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.openai_batches.absence import Absence
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


def test_a_batch_that_cannot_be_asked_for_now_keeps_no_other_from_being_planned(
    openai: OpenAIBatches, openai_server: OpenAIServer
) -> None:
    """The list shows the others; the one that it does not show meets 503 and is asked again later."""
    plant(openai_server, "listed")
    plant(openai_server, "older", created=at(-48))
    openai_server.fault(SINGLE, times=None, status=503)
    found = survey(openai, rows("listed", "older"), concurrency=2)
    assert (names(found.ready), names(found.not_asked)) == (["listed"], ["older"])
    (warning,) = found.warnings
    assert warning.startswith("could not ask for 1 batches")
    assert "503" in warning


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


class Rows:
    """A table of these batch ids."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.reads = 0

    def openai_ids(self) -> Iterator[tuple[str, str]]:
        self.reads += 1
        yield from ((name, f"openai-{name}") for name in self.names)


def recent(*names: str, **values: Any) -> list[BatchSummary]:
    """Rows of an hour ago."""
    young = rows(*names, submitted=datetime.now(UTC) - timedelta(hours=1))
    return [row.model_copy(update=values) for row in young]


def missing(*names: str, minutes: float = 1) -> list[BatchSummary]:
    """Rows of an hour ago that were missing at a look."""
    return recent(*names, missing_since=datetime.now(UTC) - timedelta(minutes=minutes))


def test_a_missing_batch_is_ready_once(openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """At first, so that the poll notes it; not again before the grace is over; then it is, to end."""
    plant(openai_server, "known", created=datetime.now(UTC))
    for lost, ready in ((recent("lost"), True), (missing("lost"), False), (missing("lost", minutes=61), True)):
        found = survey(openai, [*recent("known"), *lost], concurrency=2, table=Rows("known", "lost"))
        assert names(found.ready) == (["known", "lost"] if ready else ["known"])
        assert names(found.missing) == ([] if ready else ["lost"])
        assert (found.not_asked, found.another_project) == ((), False)


def test_the_grace_is_a_setting(openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """A minute ago is long enough if the grace is half a minute."""
    plant(openai_server, "known", created=datetime.now(UTC))
    batches = [*recent("known"), *missing("lost")]
    found = survey(openai, batches, concurrency=2, absence=Absence(timedelta(seconds=30)))
    assert names(found.ready) == ["known", "lost"]


@pytest.mark.parametrize("which", ["output_file_id", "error_file_id", "input_file_id"])
def test_a_batch_whose_file_is_missing_is_ready_when_the_file_is_back(
    openai: OpenAIBatches, openai_server: OpenAIServer, which: str
) -> None:
    """The list shows it completed all the time: its files are asked for, and not read."""
    planted = openai_server.plant("openai-lost", output="o", errors="e", input="i")
    openai_server.delete_file(planted[which])
    found = survey(openai, missing("lost"), concurrency=2)
    assert (names(found.ready), names(found.missing)) == ([], ["lost"])
    openai_server.plant("openai-lost", output="o", errors="e", input="i")
    found = survey(openai, missing("lost"), concurrency=2)
    assert (names(found.ready), names(found.missing)) == (["lost"], [])


def test_a_batch_that_lacks_its_output_is_missing(openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """No file id, and counts that say otherwise."""
    openai_server.plant("openai-lost", fields={"request_counts": {"completed": 2}})
    assert names(survey(openai, missing("lost"), concurrency=2).missing) == ["lost"]


def test_a_missing_batch_that_cannot_be_asked_for_waits(
    openai: OpenAIBatches, openai_server: OpenAIServer
) -> None:
    """No answer is not "there again"."""
    openai_server.plant("openai-lost", output="o")
    openai_server.fault(SINGLE, times=None, status=503)
    assert names(survey(openai, missing("lost"), concurrency=2).missing) == ["lost"]


def test_another_project_makes_everything_missing(openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """Nothing known, nothing listed: but for what is old, and for deletions, nothing is ready."""
    gone = recent("deletes", deletion_count=1, openai_batch_id="deletion")
    batches = [*rows("old"), *gone, *recent("a", "b")]
    table = Rows("old", "deletes", "a", "b")
    found = survey(openai, batches, concurrency=2, table=table)
    assert (found.another_project, names(found.missing)) == (True, ["a", "b"])
    assert (names(found.ready), found.not_asked) == (["old", "deletes"], ())
    assert table.reads == 0


@pytest.mark.parametrize("by", ["id", "metadata", "odd entry", "nothing"])
def test_what_the_list_shows_decides(openai: OpenAIBatches, openai_server: OpenAIServer, by: str) -> None:
    """One of ours, final and older than any live one, by its id or its metadata: then the key is right."""
    fields: dict[str, Any] = {"metadata": {"batch_id": "done"}} if by == "metadata" else {}
    fields |= {"created_at": "then"} if by == "odd entry" else {}
    listed = "openai-done" if by in ("id", "odd entry") else "batch_of_somebody"
    openai_server.plant(listed, created_at=int(NOON.timestamp()), fields=fields)
    found = survey(openai, recent("a"), concurrency=2, table=Rows("done", "a"))
    assert found.another_project is (by == "nothing")
    assert names(found.missing) == (["a"] if by == "nothing" else [])


def test_one_known_batch_is_enough(openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """It is in no list, but OpenAI knows it: the list is not asked a second time."""
    openai_server.plant("openai-a", created_at=int(NOON.timestamp()))
    openai_server.fault(LISTING, text='{"data": []}', content_type="application/json")
    found = survey(openai, recent("a", "b"), concurrency=2, table=Rows("a", "b"))
    assert (found.another_project, names(found.ready)) == (False, ["a", "b"])
    assert openai_server.requests(LISTING) == 1


def test_a_refusal_is_no_evidence(openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """400 for one, 404 for the rest: still nothing of ours was seen."""
    openai_server.fault(SINGLE, times=None, contains="openai-strange", status=400)
    found = survey(openai, recent("strange", "a"), concurrency=2, table=Rows("strange", "a"))
    assert (found.another_project, names(found.missing)) == (True, ["strange", "a"])


def test_a_list_that_cannot_be_used_is_asked_past(openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """Each batch singly, and a line that says so; if all are unknown, nothing is believed."""
    openai_server.fault(LISTING, times=None, text='{"data": null}', content_type="application/json")
    openai_server.plant("openai-a")
    found = survey(openai, recent("a"), concurrency=2, table=Rows("a", "b"))
    assert names(found.ready) == ["a"]
    assert found.warnings == (
        "listing OpenAI's batches: the answer has no data; the batches are asked for singly",
    )
    assert survey(openai, recent("b"), concurrency=2, table=Rows("a", "b")).another_project


def test_a_status_of_its_own_is_running(openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """With OpenAI's own word; one in other letter case is what it is."""
    openai_server.plant("openai-a", fields={"status": "Paused"})
    openai_server.plant("openai-b", fields={"status": "COMPLETED"})
    found = survey(openai, recent("a", "b"), concurrency=2)
    assert (names(found.running), names(found.ready)) == (["a"], ["b"])
    assert [found.unknown_status(batch) for batch in found.running] == ["Paused"]
