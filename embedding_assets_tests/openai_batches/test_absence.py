"""What OpenAI does not show is looked for again, and is believed gone only at a second look, or if it is old."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from embedding_assets.bucket.keys import result_key
from embedding_assets.bucket.store import Store
from embedding_assets.errors import BatchError
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.openai_batches.absence import Absence, is_old, missing_warning
from embedding_assets.openai_batches.poll import Poller
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets_tests.answers import failed_line, input_lines, output_line
from embedding_assets_tests.conftest import OpenAIServer
from embedding_assets_tests.deltas import vector

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
IDS = ["r0", "r1"]
OUTPUT = "".join(output_line(name, vector(number)) for number, name in enumerate(IDS))
COUNTS = {"total": 2, "completed": 2, "failed": 0}


def row(submitted_at: datetime = NOW - HOUR, **values: Any) -> BatchSummary:
    """A live row."""
    defaults: dict[str, Any] = {
        "batch_id": "b1",
        "openai_batch_id": "openai-b1",
        "batch_type": "LINE_EMBEDDING",
        "status": Status.PENDING,
    }
    return BatchSummary(submitted_at=submitted_at, **{**defaults, **values})


def young(**values: Any) -> BatchSummary:
    """A row of the last hour."""
    return row(datetime.now(UTC) - timedelta(minutes=30), **values)


@pytest.mark.parametrize(
    ("age", "missing_for", "gone", "waits"),
    [
        (HOUR, None, False, False),
        (HOUR, timedelta(0), False, True),
        (HOUR, timedelta(minutes=59, seconds=59), False, True),
        (HOUR, HOUR, True, False),
        (timedelta(days=30), None, False, False),
        (timedelta(days=30, seconds=1), None, True, False),
        (timedelta(days=31), timedelta(seconds=1), True, False),
    ],
)
def test_when_a_missing_batch_is_gone(
    age: timedelta, missing_for: timedelta | None, gone: bool, waits: bool
) -> None:
    """At two looks that are an hour apart, or at the first one if it is older than 30 days."""
    since = None if missing_for is None else NOW - missing_for
    batch = row(NOW - age, missing_since=since)
    absence = Absence(HOUR)
    assert (absence.is_gone(batch, NOW), absence.waits(batch, NOW)) == (gone, waits)
    assert is_old(batch, NOW) is (age > timedelta(days=30))


def test_a_grace_of_nothing_still_needs_two_looks() -> None:
    """The first look never suffices for a young batch."""
    absence = Absence(timedelta(0))
    assert not absence.is_gone(row(), NOW)
    assert absence.is_gone(row(missing_since=NOW), NOW)


def test_the_warning_names_the_longest_missing_ones() -> None:
    """One line, five names, and how many more; nothing if none is missing."""
    missing = [row(batch_id=f"b{number}", missing_since=NOW - number * HOUR) for number in range(7)]
    told = missing_warning([*missing, row(batch_id="there")])
    assert told is not None
    assert "b6 (since 2026-03-04T06:00:00Z), b5" in told
    assert "and 2 more" in told
    assert "there" not in told.split(" of ", 1)[1].split(";")[0]
    assert missing_warning([row()]) is None


def lose(server: OpenAIServer, how: str) -> None:
    """Make something of the batch missing."""
    if how == "batch":
        return
    fields = {"output_file_id": "", "request_counts": COUNTS} if how == "output id" else {}
    planted = server.plant(
        "openai-b1", input=input_lines([*IDS, "bad"]), output=OUTPUT, errors=failed_line("bad"), fields=fields
    )
    if how != "output id":
        server.delete_file(planted[f"{how}_file_id"])


LOST = {
    "batch": "does not know this batch",
    "output": "does not give the output",
    "output id": "names no output of this batch, but counts 2 answers",
    "error": "does not give the error file",
    "input": "does not give the input file",
}


@pytest.mark.parametrize("how", LOST)
def test_a_first_look_that_misses_something_changes_nothing(
    store: Store, poller: Poller, openai_server: OpenAIServer, how: str
) -> None:
    """The batch waits, with the reason; no delta, no errors, no final status, no failure."""
    lose(openai_server, how)
    result = poller.poll(young())
    assert (result.action, result.missing, result.final_status, result.has_delta) == ("wait", True, None, False)
    assert LOST[how] in (result.message or "")
    assert [entry.key for entry in store.list("")] == [result_key("b1")]


@pytest.mark.parametrize("how", LOST)
def test_a_second_look_within_the_grace_changes_nothing(
    poller: Poller, openai_server: OpenAIServer, how: str
) -> None:
    """Missing for half an hour: it waits on."""
    lose(openai_server, how)
    result = poller.poll(young(missing_since=datetime.now(UTC) - timedelta(minutes=30)))
    assert (result.action, result.missing) == ("wait", True)


@pytest.mark.parametrize("how", ["batch", "output", "output id"])
@pytest.mark.parametrize("believed", ["after the grace", "because it is old"])
def test_what_is_believed_gone_ends_failed(
    poller: Poller, openai_server: OpenAIServer, how: str, believed: str
) -> None:
    """Missing for more than an hour, or submitted more than 30 days ago."""
    lose(openai_server, how)
    batch = young(missing_since=datetime.now(UTC) - HOUR) if believed == "after the grace" else row()
    result = poller.poll(batch)
    assert (result.action, result.missing, result.final_status) == ("handle_failure", True, Status.FAILED)


def test_an_error_file_that_is_believed_gone_holds_nothing_back(
    poller: Poller, openai_server: OpenAIServer
) -> None:
    """What is embedded is published; why the rest is not, nobody can say any more."""
    lose(openai_server, "error")
    result = poller.poll(young(missing_since=datetime.now(UTC) - HOUR))
    assert (result.action, result.embedding_count, result.unfinished_count) == ("process_results", 2, 1)


def test_an_input_file_that_is_believed_gone_is_the_batchs_own_failure(
    poller: Poller, openai_server: OpenAIServer
) -> None:
    """Answers that belong to nothing: counted against the batch, as before."""
    lose(openai_server, "input")
    with pytest.raises(BatchError, match="nobody can say"):
        poller.poll(young(missing_since=datetime.now(UTC) - HOUR))


@pytest.mark.parametrize("how", ["batch", "output", "output id", "error", "input"])
def test_what_shows_up_again_is_polled(poller: Poller, openai_server: OpenAIServer, how: str) -> None:
    """The hiccup is over: everything is delivered."""
    lose(openai_server, how)
    missing = young(missing_since=datetime.now(UTC) - timedelta(minutes=1))
    assert poller.poll(missing).missing
    openai_server.plant("openai-b1", input=input_lines(IDS), output=OUTPUT)
    result = poller.poll(missing)
    assert (result.action, result.embedding_count, result.missing) == ("process_results", 2, False)


def test_an_old_delta_does_not_stand_in_for_a_hiccup(poller: Poller, openai_server: OpenAIServer) -> None:
    """Opened again, perhaps with other records: the earlier delta is used once the output is believed gone."""
    planted = openai_server.plant("openai-b1", input=input_lines(IDS), output=OUTPUT)
    first = poller.poll(young())
    openai_server.delete_file(planted["output_file_id"])
    hiccup = poller.poll(young(generation=1, status=Status.COMPLETED))
    assert (hiccup.action, hiccup.missing) == ("wait", True)
    again = poller.poll(young(generation=1, missing_since=datetime.now(UTC) - HOUR))
    assert (again.action, again.delta_key) == ("process_results", first.delta_key)


def test_a_look_that_finds_nothing_leaves_the_result_of_a_final_batch(
    store: Store, poller: Poller, openai_server: OpenAIServer
) -> None:
    """Polled by hand when OpenAI does not show it: what is on record of it stays."""
    openai_server.plant("openai-b1", input=input_lines(IDS), output=OUTPUT)
    first = poller.poll(young())
    openai_server.forget_batch("openai-b1")
    assert poller.poll(young(status=Status.COMPLETED)).missing
    assert PollResult.model_validate_json(store.get(result_key("b1"))) == first


def test_counts_of_no_answers_are_believed(poller: Poller, openai_server: OpenAIServer) -> None:
    """Completed without an output, and the counts say that nothing was answered: it ends at once."""
    openai_server.plant("openai-b1", input=input_lines(IDS))
    result = poller.poll(young())
    assert (result.action, result.final_status, result.missing) == ("handle_failure", Status.FAILED, False)
    assert "delivered nothing" in (result.message or "")


@pytest.mark.parametrize("unanswered", [IDS[:1], IDS])
def test_unanswered_requests_are_looked_for_once_more(
    poller: Poller, openai_server: OpenAIServer, unanswered: list[str]
) -> None:
    """The batch is retrieved again, with both files, before `no_answer` is believed; and not more often."""
    answered = [name for name in IDS if name not in unanswered]
    output = "".join(output_line(name, vector(1)) for name in answered)
    openai_server.plant("openai-b1", input=input_lines(IDS), output=output or None)
    result = poller.poll(young())
    assert (result.embedding_count, result.unfinished_count) == (len(answered), len(unanswered))
    assert openai_server.requests("GET /v1/batches/{id}") == 2


def test_a_complete_batch_is_fetched_once(poller: Poller, openai_server: OpenAIServer) -> None:
    """One retrieve, and one download of each file."""
    openai_server.plant("openai-b1", input=input_lines([*IDS, "bad"]), output=OUTPUT, errors=failed_line("bad"))
    assert poller.poll(young()).failed_count == 1
    assert openai_server.requests("GET /v1/batches/{id}") == 1
    assert openai_server.requests("GET /v1/files/{id}/content") == 3
