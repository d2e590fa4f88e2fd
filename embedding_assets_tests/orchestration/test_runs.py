"""Runs in flight: the living are waited for, the dead are reported failed and block nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from embedding_assets.databases import LINES
from embedding_assets.errors import ServiceError
from embedding_assets.orchestration import heartbeat as heartbeat_module
from embedding_assets.orchestration.heartbeat import heartbeat
from embedding_assets.orchestration.process_identity import TAG, own_identity
from embedding_assets.orchestration.runs import executions_of, in_flight
from embedding_assets.services import connect
from embedding_assets_tests.orchestration.world import World, dagster_home_template

EXECUTION = "20260102T120000Z-0123abcd"
LONG = 600.0
SHORT = 0.3


@dg.op
def nothing() -> None:
    """What the runs of these tests would do."""


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance with no runs."""
    shutil.copytree(dagster_home_template(), tmp_path, dirs_exist_ok=True)
    with dg.DagsterInstance.from_config(str(tmp_path)) as opened:
        yield opened


def started(
    instance: dg.DagsterInstance,
    name: str = "ingest_lines",
    status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTED,
    **tags: str,
) -> dg.DagsterRun:
    """A run as Dagster's storage has it, of an execution of lines."""
    job = dg.GraphDefinition(name=name, node_defs=[nothing]).to_job()
    return instance.create_run_for_job(job, status=status, tags={"dagster/partition": EXECUTION, **tags})


def status_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    """The run's status now."""
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def gone_identity() -> str:
    """The identity of a process that ended."""
    code = "from embedding_assets.orchestration.process_identity import own_identity; print(own_identity())"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize(
    "status",
    [
        dg.DagsterRunStatus.NOT_STARTED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
        dg.DagsterRunStatus.CANCELING,
    ],
)
def test_a_run_that_told_something_lately_is_in_flight(
    instance: dg.DagsterInstance, status: dg.DagsterRunStatus
) -> None:
    """Whatever unfinished status it has, it is found with its execution and left as it is."""
    run = started(instance, status=status)
    alive = in_flight(instance, LINES, LONG)
    assert [one.run_id for one in alive] == [run.run_id]
    assert executions_of(alive) == [EXECUTION]
    assert status_of(instance, run) == status


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.NOT_STARTED])
def test_a_run_that_is_silent_for_too_long_is_reported_failed(
    instance: dg.DagsterInstance, status: dg.DagsterRunStatus
) -> None:
    """A killed run stays unfinished for ever in Dagster: after the stall limit it is dead."""
    run = started(instance, status=status)
    time.sleep(2 * SHORT)
    assert in_flight(instance, LINES, SHORT) == []
    assert status_of(instance, run) == dg.DagsterRunStatus.FAILURE


def test_an_event_is_a_sign_of_life(instance: dg.DagsterInstance) -> None:
    """The newest event counts, not the age of the run."""
    run = started(instance)
    time.sleep(2 * SHORT)
    instance.report_engine_event("still at it", run)
    assert [one.run_id for one in in_flight(instance, LINES, SHORT)] == [run.run_id]


def test_a_run_whose_process_is_gone_is_dead_at_once(instance: dg.DagsterInstance) -> None:
    """Nobody waits for the stall limit where it is certain that nothing comes any more."""
    mine = own_identity()
    assert mine is not None
    living, dead = started(instance, **{TAG: mine}), started(instance, **{TAG: gone_identity()})
    assert [run.run_id for run in in_flight(instance, LINES, LONG)] == [living.run_id]
    assert status_of(instance, dead) == dg.DagsterRunStatus.FAILURE
    assert status_of(instance, living) == dg.DagsterRunStatus.STARTED


def test_a_run_executed_again_is_not_taken_for_the_one_that_died(instance: dg.DagsterInstance) -> None:
    """Dagster copies a run's tags to the run that repeats it; the dead process was not that run's."""
    identity = gone_identity()
    dead = started(instance, **{TAG: identity})
    assert in_flight(instance, LINES, LONG) == []
    again = started(
        instance,
        status=dg.DagsterRunStatus.STARTING,
        **{TAG: identity, "dagster/parent_run_id": dead.run_id, "dagster/root_run_id": dead.run_id},
    )
    assert [run.run_id for run in in_flight(instance, LINES, LONG)] == [again.run_id]


def test_only_unfinished_runs_of_the_databases_job_count(instance: dg.DagsterInstance) -> None:
    """Runs of words, and runs that ended, do not hold lines up."""
    started(instance, name="ingest_words")
    for status in (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED):
        started(instance, status=status)
    assert in_flight(instance, LINES, LONG) == []


def test_ingest_reports_a_stalled_run_failed_and_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run record that nobody works on blocks no longer than EMBEDDING_ASSETS_STALL_SECONDS."""
    monkeypatch.setenv("EMBEDDING_ASSETS_STALL_SECONDS", str(SHORT))
    run = started(world.instance)
    time.sleep(2 * SHORT)
    report = replace(world, services=connect()).ingest()
    assert (report.executions, report.failures) == ([], [])
    assert status_of(world.instance, run) == dg.DagsterRunStatus.FAILURE


def test_ingest_waits_for_a_run_that_is_alive(world: World) -> None:
    """It says for which execution, and goes on once that run has ended."""
    run = started(world.instance)
    told: list[str] = []
    ended = threading.Timer(0.5, world.instance.report_run_canceled, [run])
    ended.start()
    begun = time.monotonic()
    report = world.ingest(told=told)
    assert time.monotonic() - begun >= 0.5
    assert [line for line in told if "waiting" in line] == [f"lines: waiting for {EXECUTION}, which is in flight"]
    assert report.executions == []
    assert status_of(world.instance, run) == dg.DagsterRunStatus.CANCELED
    ended.join()


def test_a_long_step_gives_signs_of_life() -> None:
    """While the block runs a line comes every so often, at least each minute; none after it."""
    assert heartbeat_module.INTERVAL_SECONDS <= 60
    lines: list[str] = []
    with heartbeat(lines.append, "merging", interval=0.02):
        time.sleep(0.15)
    told = len(lines)
    assert 2 <= told <= 8
    assert all(line.startswith("merging: still at it after ") for line in lines)
    time.sleep(0.06)
    assert len(lines) == told


def test_a_database_that_cannot_be_asked_plans_nothing(world: World) -> None:
    """Without OpenAI's answer no execution begins: no manifest, no partition, no run."""
    world.put_row("one")
    world.server.fault("GET /v1/batches", times=None, status=401)
    before = world.objects(), world.rows()
    with pytest.raises(ServiceError, match="OPENAI_API_KEY"):
        world.ingest(until_drained=True)
    assert (world.objects(), world.rows()) == before
    assert world.instance.get_dynamic_partitions("lines_executions") == []
    assert world.instance.get_run_ids() == []
