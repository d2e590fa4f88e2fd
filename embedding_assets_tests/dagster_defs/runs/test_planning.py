"""Planning: how few questions the backlog costs at OpenAI, when there is enough, and what a manifest says."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from embedding_assets.bucket.store import Store
from embedding_assets.dagster_defs.runs.execution import enough
from embedding_assets.databases import LINES
from embedding_assets.errors import DamagedError, NotFoundError
from embedding_assets.executions.manifest import read_manifest, write_manifest
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.ledger.ids import new_execution_id
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.openai_batches.survey import Survey, survey
from embedding_assets_tests.conftest import OpenAIServer
from embedding_assets_tests.dagster_defs.runs.world import EXECUTION_ID
from embedding_assets_tests.deltas import NOON, at

LIST = "GET /v1/batches"
RETRIEVE = "GET /v1/batches/{id}"


def summary(number: int, submitted_at: datetime = NOON) -> BatchSummary:
    """A live row."""
    return BatchSummary(
        batch_id=f"b{number}",
        openai_batch_id=f"openai-{number}",
        batch_type=LINES.batch_type,
        status=Status.PENDING,
        submitted_at=submitted_at,
    )


def ids(batches: tuple[BatchSummary, ...]) -> list[str]:
    """Their batch ids."""
    return [batch.batch_id for batch in batches]


def test_a_backlog_of_1500_costs_a_call_for_each_hundred(
    openai: OpenAIBatches, openai_server: OpenAIServer
) -> None:
    """OpenAI is asked page by page, never batch by batch; every batch is told finished or running."""
    batches = [summary(number) for number in range(1500)]
    for number in range(1500):
        status = "in_progress" if number % 3 else "completed"
        openai_server.plant(f"openai-{number}", status=status, created_at=int(NOON.timestamp()) + number)
    found = survey(openai, batches, concurrency=50, singles=50)
    assert (openai_server.requests(LIST), openai_server.requests(RETRIEVE)) == (15, 0)
    assert ids(found.ready) == [f"b{number}" for number in range(0, 1500, 3)]
    assert (len(found.running), found.not_asked) == (1000, ())
    assert found.oldest_ready_at == NOON

    openai_server.order("counters/reset")
    newest = batches[-150:]
    assert len(survey(openai, newest, concurrency=50).running) == 100
    assert (openai_server.requests(LIST), openai_server.requests(RETRIEVE)) == (2, 0)


def test_listing_ends_a_day_before_the_oldest_row(openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """Batches of long ago are not paged through: the one that no list shows is asked for by its id."""
    for number in range(250):
        openai_server.plant(f"old-{number}", created_at=int(at(-25).timestamp()))
    openai_server.plant("openai-0", status="in_progress", created_at=int(at(-23).timestamp()))
    found = survey(openai, [summary(0), summary(1)], concurrency=2)
    assert (openai_server.requests(LIST), openai_server.requests(RETRIEVE)) == (1, 1)
    assert (ids(found.running), ids(found.ready)) == (["b0"], ["b1"])


def test_batches_that_no_list_shows_are_asked_for_in_turn(
    openai: OpenAIBatches, openai_server: OpenAIServer
) -> None:
    """At most `singles` a turn, others at the next one, and after as many turns as it takes each was asked."""
    batches = [summary(number) for number in range(5)]
    turns = [survey(openai, batches, concurrency=2, singles=2, turn=turn) for turn in range(3)]
    assert openai_server.requests(RETRIEVE) == 6
    assert [ids(found.ready) for found in turns] == [["b0", "b1"], ["b2", "b3"], ["b0", "b4"]]
    assert [len(found.not_asked) for found in turns] == [3, 3, 3]


def test_without_a_backlog_openai_is_not_asked(openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """No live row, no call."""
    assert survey(openai, [], concurrency=2) == Survey((), (), (), None)
    assert openai_server.control.get("/_control/counters").json() == {}


@pytest.mark.parametrize(
    ("ready", "waited", "expected"),
    [
        (0, None, False),
        (1, 0.0, False),
        (2, 0.0, False),
        (3, 0.0, True),
        (4, 0.0, True),
        (1, 59.9, False),
        (1, 60.0, True),
        (2, 3600.0, True),
    ],
)
def test_enough_is_so_many_or_so_long(ready: int, waited: float | None, expected: bool) -> None:
    """Three are ready, or the one that is ready for the longest has been so for a minute."""
    oldest = None if waited is None else NOON - timedelta(seconds=waited)
    found = Survey(tuple(summary(number) for number in range(ready)), (summary(9),), (), oldest)
    assert enough(found, 3, 60, NOON) is expected


def test_an_execution_id_is_an_instant_and_chance() -> None:
    """`YYYYMMDDTHHMMSSZ-` and 8 hex digits, in UTC whatever the zone, and never the same twice."""
    instant = datetime.fromisoformat("2026-01-02T01:02:03+02:00")
    made = {new_execution_id(instant) for _ in range(100)}
    assert len(made) == 100
    assert {name[:17] for name in made} == {"20260101T230203Z-"}
    assert all(re.fullmatch(EXECUTION_ID, name) for name in made)


def test_a_manifest_is_read_as_it_was_written(store: Store) -> None:
    """Its batches are counted from 0, in the order given."""
    before = datetime.now(UTC)
    written = write_manifest(store, LINES, [summary(7), summary(3)])
    read = read_manifest(store, written.execution_id)
    assert read == written
    assert [(planned.index, planned.batch_id) for planned in read.batches] == [(0, "b7"), (1, "b3")]
    assert before <= datetime.fromisoformat(read.created_at) <= datetime.now(UTC)


def test_a_manifest_that_lost_a_batch_is_refused(store: Store) -> None:
    """`total_batches` and the list must agree; an execution without a manifest is told so."""
    manifest = write_manifest(store, LINES, [summary(1), summary(2)])
    damaged = manifest.model_copy(update={"batches": manifest.batches[:1]})
    store.put(f"manifests/{manifest.execution_id}/batches.json", damaged.model_dump_json().encode())
    with pytest.raises(DamagedError, match="total_batches is 2, but 1 are listed"):
        read_manifest(store, manifest.execution_id)
    with pytest.raises(NotFoundError):
        read_manifest(store, "20260102T120000Z-00000000")
