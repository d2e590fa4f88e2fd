"""Postgres as Dagster's storage: runs, sensors, partitions, and events that are written together."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import openai
import pytest

from embedding_assets.dagster_defs.runs import event_batches, sql_events
from embedding_assets.dagster_defs.runs.event_batches import report_together
from embedding_assets.dagster_defs.runs.planning import add_missing
from embedding_assets.databases import LINES
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.test_event_batches import (
    KEYS,
    in_a_run,
    one_by_one,
    replaced,
    some_events,
    together,
    told,
)
from embedding_assets_tests.dagster_defs.runs.test_retirement import NOTHING_IS_KEPT, only_what_is_finished_leaves
from embedding_assets_tests.dagster_defs.runs.world import texts, tick
from embedding_assets_tests.deltas import at
from embedding_assets_tests.engines.conftest import world_on_postgres
from embedding_assets_tests.targets.server import ChromaServer

PARTITIONS = 10_000


def test_an_execution(
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    storage: dict[str, Any],
    tmp_path: Path,
) -> None:
    """The sensor plans it, its run publishes, the completion sensor marks: all in Postgres, nothing in files."""
    with world_on_postgres(stack, aws, openai_clients, storage, tmp_path / "home", {}) as world:
        for name in ("one", "two"):
            world.plant(name, texts(f"{name}-", 2))
        (request,) = tick(world, "lines_pending_batches").run_requests or []
        job = world.defs.resolve_job_def("ingest_lines")
        execution = request.partition_key
        assert job.execute_in_process(instance=world.instance, partition_key=execution).success
        tick(world, "lines_completion")
        assert world.statuses() == {"one": "COMPLETED", "two": "COMPLETED"}
        assert world.instance.get_materialized_partitions(dg.AssetKey(["lines", "poll_results"])) == {"one", "two"}
        assert not list((tmp_path / "home").rglob("*.db"))


def test_retirement(
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    storage: dict[str, Any],
    tmp_path: Path,
) -> None:
    """As with Dagster's own files: the job takes out what is finished, many partitions at once."""
    home = tmp_path / "home"
    with world_on_postgres(stack, aws, openai_clients, storage, home, {}, **NOTHING_IS_KEPT) as world:
        assert sql_events.suits(world.instance)
        only_what_is_finished_leaves(world)


def test_a_target(
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    storage: dict[str, Any],
    tmp_path: Path,
) -> None:
    """While its server is away the completion sensor marks nothing; when it is back, it gets the version first."""
    server = ChromaServer(tmp_path / "chroma")
    server.start()
    try:
        settings = {"EMBEDDING_ASSETS_TARGETS": f"far={server.url(server.new_database())}"}
        with world_on_postgres(stack, aws, openai_clients, storage, tmp_path / "home", {}, **settings) as world:
            [target] = world.services.targets
            for number, name in enumerate(("one", "two")):
                world.plant(name, texts("a", 4 + number), row={"submitted_at": at(number).isoformat()})
                (request,) = tick(world, "lines_pending_batches").run_requests or []
                job = world.defs.resolve_job_def("ingest_lines")
                assert job.execute_in_process(instance=world.instance, partition_key=request.partition_key).success
                if name == "two":
                    server.kill()
                    tick(world, "lines_completion")
                    assert world.statuses() == {"one": "COMPLETED", "two": "PENDING"}
                    server.start()
                tick(world, "lines_completion")
                assert world.statuses()[name] == "COMPLETED"
                found = world.services.verify_target(LINES, target)
                assert (found.ok, found.version) == (True, world.published().version)
    finally:
        server.kill()


def test_events_together(instance: dg.DagsterInstance) -> None:
    """As Dagster would have stored them one by one, of a step and of no run."""
    assert sql_events.suits(instance)
    wanted = replaced(in_a_run(instance, one_by_one)["run"])
    found = in_a_run(instance, together)
    assert replaced(found["run"]) == wanted
    assert found["ordered"]
    report_together(instance, some_events())
    assert len(told(instance, "")["run"]) == len(some_events())
    assert [instance.get_materialized_partitions(key) for key in KEYS] == [{"b0", "b1", "b2"}] * 2


@pytest.mark.long
def test_ten_thousand_partitions(instance: dg.DagsterInstance) -> None:
    """Added and reported within a minute; together at least four times as fast as one by one."""
    keys = [f"batch-{number:05}" for number in range(PARTITIONS)]
    started = time.monotonic()
    add_missing(instance, "lines_batches", keys)
    events = [dg.AssetMaterialization(KEYS[0], partition=key) for key in keys]
    report_together(instance, events)
    seconds = time.monotonic() - started
    assert len(instance.get_dynamic_partitions("lines_batches")) == PARTITIONS
    assert instance.get_materialized_partitions(KEYS[0]) == set(keys)
    assert seconds < 60
    started = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_batches, "sql_events", None)
        report_together(instance, events[: PARTITIONS // 20])
    singly = (time.monotonic() - started) * 20
    print(f"{PARTITIONS} partitions and events: {seconds:.1f} s together, {singly:.0f} s one by one")  # noqa: T201
    assert singly > 4 * seconds
