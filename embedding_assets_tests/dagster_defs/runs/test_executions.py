"""Runs in flight: the living are waited for, the dead are reported failed and block nothing."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest

from embedding_assets.dagster_defs.runs import heartbeat as heartbeat_module
from embedding_assets.dagster_defs.runs.executions import executions_of, in_flight
from embedding_assets.dagster_defs.runs.heartbeat import heartbeat
from embedding_assets.databases import LINES
from embedding_assets.errors import ServiceError
from embedding_assets.processes.process_identity import TAG, own_identity
from embedding_assets_tests.dagster_defs.runs.world import World, add_run, dagster_home_template

EXECUTION = "20260102T120000Z-0123abcd"
STALL_SECONDS = 600.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A Dagster home with no runs."""
    shutil.copytree(dagster_home_template(), tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """The instance of that home."""
    with dg.DagsterInstance.from_config(str(home)) as opened:
        yield opened


def make_old(home: Path, run: dg.DagsterRun) -> None:
    """Let the run have been created long before the stall limit."""
    with closing(sqlite3.connect(home / "history" / "runs.db")) as runs, runs:
        runs.execute("UPDATE runs SET create_timestamp = '2020-01-01 00:00:00' WHERE run_id = ?", [run.run_id])


def status_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    """The run's status now."""
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def alive(instance: dg.DagsterInstance) -> list[str]:
    """Ids of the runs of lines that are in flight."""
    return [run.run_id for run in in_flight(instance, LINES, STALL_SECONDS)]


@pytest.fixture(scope="module")
def gone() -> str:
    """The identity of a process that ended."""
    code = "from embedding_assets.processes.process_identity import own_identity; print(own_identity())"
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
    run = add_run(instance, EXECUTION, status=status)
    found = in_flight(instance, LINES, STALL_SECONDS)
    assert [one.run_id for one in found] == [run.run_id]
    assert executions_of(found) == [EXECUTION]
    assert status_of(instance, run) == status


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.NOT_STARTED])
def test_a_run_that_is_silent_for_too_long_is_reported_failed(
    instance: dg.DagsterInstance, home: Path, status: dg.DagsterRunStatus
) -> None:
    """A killed run stays unfinished for ever in Dagster: after the stall limit it is dead."""
    run = add_run(instance, EXECUTION, status=status)
    make_old(home, run)
    assert alive(instance) == []
    assert status_of(instance, run) == dg.DagsterRunStatus.FAILURE


def test_an_event_is_a_sign_of_life(instance: dg.DagsterInstance, home: Path) -> None:
    """The newest event counts, not the age of the run."""
    run = add_run(instance, EXECUTION)
    make_old(home, run)
    instance.report_engine_event("still at it", run)
    assert alive(instance) == [run.run_id]


def test_a_run_whose_process_is_gone_is_dead_at_once(instance: dg.DagsterInstance, gone: str) -> None:
    """Nobody waits for the stall limit where it is certain that nothing comes any more."""
    mine = own_identity()
    assert mine is not None
    living, dead = (add_run(instance, EXECUTION, tags={TAG: identity}) for identity in (mine, gone))
    assert alive(instance) == [living.run_id]
    assert status_of(instance, dead) == dg.DagsterRunStatus.FAILURE
    assert status_of(instance, living) == dg.DagsterRunStatus.STARTED


def test_a_run_executed_again_is_not_taken_for_the_one_that_died(instance: dg.DagsterInstance, gone: str) -> None:
    """Dagster copies a run's tags to the run that repeats it; the dead process was not that run's."""
    dead = add_run(instance, EXECUTION, tags={TAG: gone})
    assert alive(instance) == []
    again = add_run(
        instance,
        EXECUTION,
        status=dg.DagsterRunStatus.STARTING,
        tags={TAG: gone, "dagster/parent_run_id": dead.run_id, "dagster/root_run_id": dead.run_id},
    )
    assert alive(instance) == [again.run_id]


def test_only_unfinished_runs_of_the_databases_job_count(instance: dg.DagsterInstance) -> None:
    """Runs of words, and runs that ended, do not hold lines up."""
    add_run(instance, EXECUTION, name="ingest_words")
    for status in (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED):
        add_run(instance, EXECUTION, status=status)
    assert alive(instance) == []


def test_ingest_reports_a_stalled_run_failed_and_goes_on(world: World) -> None:
    """A run record that nobody works on, and that is older than the stall limit, blocks nothing."""
    run = add_run(world.instance, EXECUTION)
    make_old(world.home, run)
    told: list[str] = []
    report = world.ingest(told=told)
    assert (report.executions, report.failures) == ([], [])
    assert [line for line in told if "waiting" in line] == []
    assert status_of(world.instance, run) == dg.DagsterRunStatus.FAILURE


def test_ingest_waits_for_a_run_that_is_alive(world: World) -> None:
    """It says for which execution, and goes on once that run has ended."""
    run = add_run(world.instance, EXECUTION)
    told: list[str] = []
    ended = threading.Timer(0.5, world.instance.report_run_canceled, [run])
    ended.start()
    begun = time.monotonic()
    report = world.ingest(told=told)
    assert time.monotonic() - begun >= 0.5
    waiting = [line for line in told if "waiting" in line]
    assert set(waiting) == {f"lines: waiting for {EXECUTION}, which is in flight"}
    assert report.executions == []
    assert status_of(world.instance, run) == dg.DagsterRunStatus.CANCELED
    ended.join()


def test_without_openais_answer_no_execution_begins(world: World) -> None:
    """No manifest, no partition, no run."""
    world.put_row("one")
    world.server.fault("GET /v1/batches", times=None, status=401)
    before = world.objects(), world.rows()
    with pytest.raises(ServiceError, match="OPENAI_API_KEY"):
        world.ingest(until_drained=True)
    assert (world.objects(), world.rows()) == before
    assert world.instance.get_dynamic_partitions("lines_executions") == []
    assert world.instance.get_run_ids() == []


def test_a_long_step_gives_signs_of_life() -> None:
    """While the block runs a line comes every so often, at least each minute; none after it."""
    assert heartbeat_module.INTERVAL_SECONDS <= 60
    lines: list[str] = []
    third = threading.Event()

    def log(line: str) -> None:
        lines.append(line)
        if len(lines) == 3:
            third.set()

    with heartbeat(log, "merging", interval=0.02):
        assert third.wait(10)
    told = len(lines)
    assert all(line.startswith("merging: still running after ") for line in lines)
    time.sleep(0.1)
    assert len(lines) == told
