"""kill -9 at any moment, and run again: everything is published once, marked, and the same as undisturbed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping

import dagster as dg
import httpx
import openai
import pytest

from embedding_assets.bucket.keys import delta_prefix, pointer_key
from embedding_assets.databases import LINES
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets.versions.manifest import chain
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.processes import start_command
from embedding_assets_tests.dagster_defs.runs.world import World, open_world, texts
from embedding_assets_tests.reference import reference_digest

LEASE_SECONDS = 1
START_SECONDS = 120
SOON_SECONDS = 60
"""Far below the stall limit of ten minutes, far above what a run takes."""

BY_BATCH = {f"batch-{number}": texts(f"{number}-", 3, seed=10 * number) for number in range(4)}
UNDISTURBED = reference_digest([one for wanted in BY_BATCH.values() for one in wanted])
"""What a run without a kill publishes: `test_ingest.py` shows that it is the contract's digest of the records."""


@pytest.fixture
def world(
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    """Four completed batches, and a short lease."""
    home = tmp_path_factory.mktemp("home")
    lease = {"EMBEDDING_ASSETS_LOCK_LEASE_SECONDS": str(LEASE_SECONDS)}
    with open_world(stack, aws, openai_clients[1], home, **lease) as opened:
        for batch_id, wanted in BY_BATCH.items():
            opened.plant(batch_id, wanted)
        yield opened


def end_when(
    world: World,
    moment: Callable[[], bool],
    end: signal.Signals = signal.SIGKILL,
    environment: Mapping[str, str] | None = None,
) -> int | None:
    """Start `embedding-assets ingest`, send it the signal as soon as `moment` has come; its exit code."""
    settings = {**os.environ, **world.environment, **(environment or {})}
    process = start_command(["ingest", "--json"], settings, world.home)
    deadline = time.monotonic() + START_SECONDS
    try:
        while not moment():
            assert process.is_alive(), (world.home / "stderr").read_text()
            assert time.monotonic() < deadline, "the moment never came"
            time.sleep(0.02)
        os.kill(process.ident or 0, end)
        process.join(SOON_SECONDS)
    finally:
        process.kill()
        process.join()
    return process.exitcode


def polled(world: World) -> bool:
    """Whether the execution's poll results are there."""
    return any(key.endswith("/poll_results.json") for key in world.keys("poll_results/"))


def merging(world: World) -> bool:
    """Whether the lock of the final merge is taken."""
    return bool(world.rows().get("LOCK#lines", {}).get("owner"))


def published(world: World) -> bool:
    """Whether the pointer is there."""
    return bool(world.keys(pointer_key(LINES)))


def assert_all_is_done(world: World) -> None:
    """Published, marked, each batch once in the chain, and no run left that looks alive."""
    manifest = world.published()
    assert manifest.content_digest == UNDISTURBED
    assert world.statuses() == dict.fromkeys(BY_BATCH, "COMPLETED")
    versions = chain(world.services.store, LINES, manifest)
    accounted = [batch.batch_id for version in versions for batch in version.batches]
    assert sorted(accounted) == list(BY_BATCH)
    ended = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE}
    assert {run.status for run in world.instance.get_runs()} <= ended
    assert world.ingest().executions == []


def timed_ingest(world: World) -> tuple[list[str], list[str]]:
    """Ingest again, which takes its time but not the stall limit; what it executed and marked."""
    begun = time.monotonic()
    report = world.ingest()
    assert time.monotonic() - begun < SOON_SECONDS
    assert report.failures == []
    return report.executions, report.marked


def test_killed_between_polling_and_merging(world: World) -> None:
    """Nothing is published then; a new execution polls the same batches again and finds the same deltas."""
    assert end_when(world, lambda: polled(world)) == -signal.SIGKILL
    assert not published(world)
    deltas = world.keys(delta_prefix(LINES))
    assert len(deltas) == 2 * len(BY_BATCH)
    executions, marked = timed_ingest(world)
    assert (len(executions), sorted(marked)) == (1, list(BY_BATCH))
    assert world.keys(delta_prefix(LINES)) == deltas
    assert_all_is_done(world)


def test_killed_between_merging_and_marking(world: World) -> None:
    """All is published, nothing marked: the next call marks from the published manifest and runs nothing."""
    assert end_when(world, lambda: published(world)) == -signal.SIGKILL
    assert set(world.statuses().values()) == {"PENDING"}
    version = world.published().version
    executions, marked = timed_ingest(world)
    assert (executions, sorted(marked)) == ([], list(BY_BATCH))
    assert world.published().version == version
    assert_all_is_done(world)


def test_killed_while_it_held_the_lock(world: World) -> None:
    """The version that it was building is never pointed at; after its lease the lock goes to a greater epoch."""
    assert end_when(world, lambda: merging(world)) == -signal.SIGKILL
    assert not published(world)
    held = world.rows()["LOCK#lines"]
    assert held["owner"]
    executions, marked = timed_ingest(world)
    assert (len(executions), sorted(marked)) == (1, list(BY_BATCH))
    assert world.rows()["LOCK#lines"]["epoch"] == held["epoch"] + 1
    assert world.published().epoch == held["epoch"] + 1
    assert_all_is_done(world)


@pytest.mark.parametrize(
    ("moment", "end", "line"),
    [
        (polled, signal.SIGINT, "error: interrupted"),
        (merging, signal.SIGTERM, "error: interrupted by SIGTERM"),
        (polled, signal.SIGHUP, "error: interrupted by SIGHUP"),
    ],
    ids=["SIGINT", "SIGTERM", "SIGHUP"],
)
def test_a_signal_ends_it_in_order(
    world: World, moment: Callable[[World], bool], end: signal.Signals, line: str
) -> None:
    """128 and the signal's number, a line that says so, no traceback.

    No lock, no temporary file and no run is left. The next call does the rest.
    """
    temporary = world.home / "temporary"
    temporary.mkdir()
    environment = {"TMPDIR": str(temporary)}
    assert end_when(world, lambda: moment(world), end, environment) == 128 + end
    stderr = (world.home / "stderr").read_text()
    assert stderr.splitlines()[-1] == line
    assert "Traceback" not in stderr
    assert list(temporary.iterdir()) == []
    assert not merging(world)
    ended = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
    assert {run.status for run in world.instance.get_runs()} <= ended
    timed_ingest(world)
    assert_all_is_done(world)
