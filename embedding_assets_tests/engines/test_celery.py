"""EMBEDDING_ASSETS_EXECUTOR=celery: steps on two workers that share Postgres, a broker and the services."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

import embedding_assets
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.processes import start_command
from embedding_assets_tests.dagster_defs.runs.world import World, texts
from embedding_assets_tests.engines.conftest import world_on_postgres
from embedding_assets_tests.engines.servers import wait_for
from embedding_assets_tests.reference import reference_digest

ROOT = Path(embedding_assets.__file__).parent.parent
WORKER = "embedding_assets_tests.engines.celery_worker"
BATCHES = 8
CHUNKS = 4
VISIBILITY_SECONDS = 10
SECONDS = 240
BY_BATCH = {f"batch-{number}": texts(f"{number}-", 3, seed=10 * number) for number in range(BATCHES)}
DIGEST = reference_digest([one for wanted in BY_BATCH.values() for one in wanted])


@pytest.fixture
def world(
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    storage: dict[str, Any],
    broker: str,
    tmp_path: Path,
) -> Iterator[World]:
    """Eight completed batches in chunks of two; Dagster in Postgres; the executor is Celery's."""
    settings = {
        "EMBEDDING_ASSETS_EXECUTOR": "celery",
        "EMBEDDING_ASSETS_CELERY_BROKER": broker,
        "EMBEDDING_ASSETS_CELERY_VISIBILITY_SECONDS": str(VISIBILITY_SECONDS),
        "EMBEDDING_ASSETS_CHUNK_SIZE": "2",
    }
    nowhere = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    home = tmp_path / "home"
    more = {"compute_logs": nowhere}
    with world_on_postgres(stack, aws, openai_clients, storage, home, more, **settings) as opened:
        for batch_id, wanted in BY_BATCH.items():
            opened.plant(batch_id, wanted)
        yield opened


@contextmanager
def worker(world: World, folder: Path, *, hang: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """A worker in a folder and a temporary directory of its own, without DAGSTER_HOME."""
    (folder / "tmp").mkdir(parents=True)
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    environment |= {name: value for name, value in world.environment.items() if name != "DAGSTER_HOME"}
    environment |= {"TMPDIR": str(folder / "tmp"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", WORKER, folder.name, *(["hang"] if hang else [])]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def merged(folder: Path) -> list[int]:
    """The chunks that a worker merged."""
    file = folder / "merged"
    return [int(line) for line in file.read_text().splitlines()] if file.exists() else []


def logs(*folders: Path) -> str:
    """What the workers said, for a failure."""
    return "\n".join((folder / "log").read_text(errors="replace")[-3000:] for folder in folders)


@contextmanager
def ingesting(world: World) -> Iterator[ForkServerProcess]:
    """`embedding-assets ingest`, whose process hands out the steps."""
    process = start_command(["ingest", "--database", "lines"], {**os.environ, **world.environment}, world.home)
    try:
        yield process
    finally:
        process.kill()
        process.join()


def is_complete(world: World, run: ForkServerProcess, told: str) -> None:
    """Everything is published once and marked, with the digest of an undisturbed run."""
    assert run.exitcode == 0, (world.home / "stderr").read_text() + told
    assert world.statuses() == dict.fromkeys(BY_BATCH, "COMPLETED")
    assert world.published().content_digest == DIGEST


@pytest.mark.long
def test_a_worker_dies(world: World, tmp_path: Path) -> None:
    """Killed with -9 in the middle of a chunk: the others of its steps go on, its chunk goes to another worker."""
    first, second = tmp_path / "first", tmp_path / "second"
    with ExitStack() as workers:
        dying = workers.enter_context(worker(world, first, hang=True))
        run = workers.enter_context(ingesting(world))
        wait_for(lambda: (first / "hangs").exists() or not run.is_alive(), SECONDS)
        workers.enter_context(worker(world, second))
        wait_for(lambda: len(merged(second)) == CHUNKS - 1 or not run.is_alive(), SECONDS)
        os.kill(dying.pid, signal.SIGKILL)
        run.join(SECONDS)
        is_complete(world, run, logs(first, second))
    hung = int((first / "hangs").read_text())
    assert hung in merged(second)
    assert set(merged(second)) == set(range(CHUNKS))
    assert merged(first) == []
    assert not list((tmp_path / "second").rglob("*.db"))


@pytest.mark.long
def test_both_workers_take_chunks(world: World, tmp_path: Path) -> None:
    """Two workers that live: each chunk is merged once, by one of them."""
    folders = [tmp_path / "first", tmp_path / "second"]
    with ExitStack() as workers:
        for folder in folders:
            workers.enter_context(worker(world, folder))
        wait_for(lambda: all((folder / "log").exists() for folder in folders), SECONDS)
        run = workers.enter_context(ingesting(world))
        run.join(SECONDS)
        is_complete(world, run, logs(*folders))
    assert sorted(number for folder in folders for number in merged(folder)) == list(range(CHUNKS))
