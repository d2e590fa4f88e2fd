"""What Dagster forgets of finished batches and executions, and what stays."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import httpx
import openai
import pytest

from embedding_assets.dagster_defs.runs import event_batches
from embedding_assets.dagster_defs.runs.retirement import Retired, retire
from embedding_assets.databases import LINES
from embedding_assets.ledger.batch_summary import Status
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.cli.commands import command
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.world import World, add_run, open_world, texts, tick

OLD = "20260102T120000Z-00000001"
GOES_ON = "20260102T120000Z-00000002"


NOTHING_IS_KEPT = {"EMBEDDING_ASSETS_PARTITION_RETENTION_DAYS": "0"}


@pytest.fixture
def world(
    stack: EmbeddedStack, aws: AwsClients, openai_clients: tuple[openai.OpenAI, httpx.Client], tmp_path: Path
) -> Iterator[World]:
    """A world where nothing is kept for long."""
    with open_world(stack, aws, openai_clients[1], tmp_path, **NOTHING_IS_KEPT) as opened:
        yield opened


def batches(world: World) -> set[str]:
    """The batches that Dagster knows."""
    return set(world.instance.get_dynamic_partitions("lines_batches"))


def executions(world: World) -> set[str]:
    """The executions that Dagster knows."""
    return set(world.instance.get_dynamic_partitions("lines_executions"))


@pytest.mark.parametrize("storage", ["many at once", "one by one"])
def test_what_is_finished_leaves_dagster_and_nothing_else(
    world: World, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Live batches, those without a row, the published execution and what a run is about stay."""
    if storage == "one by one":
        monkeypatch.setattr(event_batches, "sql_events", None)
    only_what_is_finished_leaves(world)


def only_what_is_finished_leaves(world: World) -> None:
    """In a world where nothing is kept for long, on any storage of Dagster."""
    world.plant("done", texts("a", 2))
    [published] = world.ingest().executions
    world.put_row("live")
    world.instance.add_dynamic_partitions("lines_batches", ["live", "without-row"])
    world.instance.add_dynamic_partitions("lines_executions", [OLD, GOES_ON])
    over = add_run(world.instance, OLD, status=dg.DagsterRunStatus.FAILURE)
    running = add_run(world.instance, GOES_ON)
    for run in (over, running):
        world.services.store.put(f"dagster/outputs/{run.run_id}/step/result.json", b"1")
    objects, rows = world.keys("lines/"), world.rows()

    def forget(age: timedelta) -> Retired:
        return retire(world.services, world.instance, LINES, datetime.now(UTC), age)

    assert forget(timedelta(days=30)) == Retired(0, 1, 0, 0), "by its id an execution is old, by its date no run"
    world.instance.add_dynamic_partitions("lines_executions", [OLD])
    job = world.defs.resolve_job_def("retire_lines")
    assert job.execute_in_process(instance=world.instance).success
    assert batches(world) == {"live", "without-row"}
    assert executions(world) == {published, GOES_ON}
    assert not world.instance.has_run(over.run_id)
    assert world.instance.has_run(running.run_id)
    assert world.keys("dagster/outputs/") == {f"dagster/outputs/{running.run_id}/step/result.json"}
    assert (world.keys("lines/"), world.rows()) == (objects, rows)
    assert forget(timedelta(0)) == Retired(0, 0, 0, 0)


def test_the_table_still_knows_them_and_a_batch_that_is_opened_again_is_back(world: World) -> None:
    """`status` tells its story; after `reprocess` it is planned and published as any other."""
    world.plant("done", texts("a", 2))
    world.ingest()
    retire(world.services, world.instance, LINES, datetime.now(UTC), timedelta(0))
    assert batches(world) == set()
    assert command("status", "--batch", "done", "--json").json["batches"][0]["status"] == "COMPLETED"
    command("reprocess", "--batch", "done")
    tick(world, "lines_pending_batches")
    assert batches(world) == {"done"}
    assert world.ingest().marked == ["done"]
    assert world.services.ledger.get("done").status is Status.COMPLETED


def test_each_night(world: World) -> None:
    """The schedule runs unless somebody stops it: it deletes nothing that anybody needs."""
    schedule = world.defs.get_schedule_def("lines_retirement")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert schedule.job_name == "retire_lines"
