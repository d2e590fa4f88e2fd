"""`{db}_pending_batches`: when it starts an execution, of what, and when it does not."""

from __future__ import annotations

import re
import time

import dagster as dg
import pytest

from embedding_assets.dagster_defs.runs.planning import begin_execution
from embedding_assets.databases import LINES, WORDS
from embedding_assets_tests.dagster_defs.runs.world import EXECUTION_ID, World, add_run, texts, tick

SENSOR = "lines_pending_batches"
LINES_BATCHES = "lines_batches"
LINES_EXECUTIONS = "lines_executions"


def manifests(world: World) -> set[str]:
    """Keys of all execution manifests."""
    return world.keys("manifests/")


def plant_ready(world: World, batch_id: str, seconds_ago: float = 0.0) -> None:
    """A batch that OpenAI completed so long ago."""
    world.plant(batch_id, texts(f"{batch_id}-", 1), created_at=int(time.time() - seconds_ago))


def unfinished_run(world: World, batch_id: str) -> dg.DagsterRun:
    """A run of lines that is in flight, over an execution of its own."""
    rows = [row for row in world.services.ledger.live(LINES).ready_to_plan if row.batch_id == batch_id]
    execution = begin_execution(world.services, world.instance, LINES, tuple(rows)).execution_id
    return add_run(world.instance, execution)


def test_with_nothing_ready_it_skips_and_tells_what_it_saw(world: World) -> None:
    """No run, no manifest, no execution; yet every live batch is a partition that the UI shows."""
    world.plant("running", texts("r-", 1), status="in_progress")
    world.plant("aside", texts("a-", 1), row={"set_aside": "because"})
    world.plant("of-words", texts("w-", 1), database=WORDS)
    world.put_row("a/b")
    before = world.objects(), world.rows()
    data = tick(world, SENSOR)
    assert data.run_requests == []
    assert data.skip_message == "0 batches ready, 1 running at OpenAI, 1 set aside, 1 rows refused"
    assert (world.objects(), world.rows()) == before
    assert set(world.instance.get_dynamic_partitions(LINES_BATCHES)) == {"running", "aside"}
    assert world.instance.get_dynamic_partitions(LINES_EXECUTIONS) == []


def test_it_requests_one_run_for_all_that_is_ready(world: World) -> None:
    """One execution: its manifest has exactly the ready batches, its id is partition and run key."""
    for batch_id in ("one", "two"):
        plant_ready(world, batch_id)
    world.plant("running", texts("r-", 1), status="in_progress")
    world.plant("aside", texts("a-", 1), row={"set_aside": "because"})
    world.plant("of-words", texts("w-", 1), database=WORDS)
    world.put_row("20260102T120000Z-0123abcd")
    before = world.rows()
    data = tick(world, SENSOR, cursor="7")
    (request,) = data.run_requests or []
    execution = request.partition_key
    assert execution is not None
    assert re.fullmatch(EXECUTION_ID, execution)
    assert (request.run_key, data.cursor) == (execution, "8")
    assert manifests(world) == {f"manifests/{execution}/batches.json"}
    manifest = world.json(f"manifests/{execution}/batches.json")
    assert [planned["batch_id"] for planned in manifest["batches"]] == ["one", "two"]
    live = {"one", "two", "running", "aside"}
    assert set(world.instance.get_dynamic_partitions(LINES_BATCHES)) == live
    assert world.instance.get_dynamic_partitions(LINES_EXECUTIONS) == [execution]
    assert world.rows() == before


def test_none_is_started_while_another_is_in_flight(world: World) -> None:
    """It says which; new batches become partitions all the same; once that run has ended, it starts one."""
    plant_ready(world, "one")
    run = unfinished_run(world, "one")
    before = world.objects()
    plant_ready(world, "two")
    data = tick(world, SENSOR, cursor="3")
    assert data.run_requests == []
    assert data.skip_message == f"in flight: {run.tags['dagster/partition']}"
    assert world.objects() == before
    assert set(world.instance.get_dynamic_partitions(LINES_BATCHES)) == {"one", "two"}

    world.instance.report_run_failed(run)
    (request,) = tick(world, SENSOR, cursor=data.cursor).run_requests or []
    manifest = world.json(f"manifests/{request.partition_key}/batches.json")
    assert [planned["batch_id"] for planned in manifest["batches"]] == ["one", "two"]


def test_a_run_of_another_database_holds_nothing_up(world: World) -> None:
    """One execution at a time is a rule of each database."""
    plant_ready(world, "one")
    unfinished_run(world, "one")
    world.plant("of-words", texts("w-", 1), database=WORDS)
    assert len(tick(world, "words_pending_batches").run_requests or []) == 1
    assert len(tick(world, SENSOR).run_requests or []) == 0


def test_it_waits_for_enough_or_long_enough(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of two wanted, ready for a moment: wait. Two, or one that is ready for longer than allowed: start."""
    monkeypatch.setenv("EMBEDDING_ASSETS_MIN_READY", "2")
    monkeypatch.setenv("EMBEDDING_ASSETS_MAX_WAIT_SECONDS", "60")
    plant_ready(world, "young", seconds_ago=30)
    data = tick(world, SENSOR)
    assert (data.run_requests, data.skip_message) == ([], "1 batches ready, 0 running at OpenAI")
    assert manifests(world) == set()
    plant_ready(world, "second", seconds_ago=0)
    assert len(tick(world, SENSOR).run_requests or []) == 1


def test_one_batch_does_not_wait_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ready for longer than EMBEDDING_ASSETS_MAX_WAIT_SECONDS: it starts alone."""
    monkeypatch.setenv("EMBEDDING_ASSETS_MIN_READY", "2")
    monkeypatch.setenv("EMBEDDING_ASSETS_MAX_WAIT_SECONDS", "60")
    plant_ready(world, "old", seconds_ago=90)
    (request,) = tick(world, SENSOR).run_requests or []
    assert world.json(f"manifests/{request.partition_key}/batches.json")["total_batches"] == 1


def test_a_tick_asks_singly_for_fifty_at_most(world: World) -> None:
    """Batches that no list shows are asked for in turn, so that a backlog of them does not hold a tick up."""
    for number in range(60):
        world.put_row(f"lost-{number:02}")
    (first,) = tick(world, SENSOR).run_requests or []
    assert world.server.requests("GET /v1/batches/{id}") == 50
    assert world.json(f"manifests/{first.partition_key}/batches.json")["total_batches"] == 50


def test_what_it_requests_is_a_run_that_marks_in_the_end(world: World) -> None:
    """Tick, run, tick: the requested configuration runs as it is, and the completion sensor marks the batch."""
    plant_ready(world, "one")
    (request,) = tick(world, SENSOR).run_requests or []
    result = world.defs.resolve_job_def("ingest_lines").execute_in_process(
        partition_key=request.partition_key,
        run_config=dict(request.run_config),
        instance=world.instance,
    )
    assert result.success
    assert world.statuses() == {"one": "PENDING"}
    data = tick(world, "lines_completion")
    assert data.skip_message == "marked 1 batches"
    assert world.statuses() == {"one": "COMPLETED"}
    assert tick(world, SENSOR).skip_message == "0 batches ready, 0 running at OpenAI"
