"""Two processes that submit overlapping files at once: each record is paid once."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from embedding_assets.bucket.keys import records_key
from embedding_assets.databases import LINES
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.processes import start_command
from embedding_assets_tests.dagster_defs.runs.world import World, open_world

ENVIRONMENT = {"EMBEDDING_ASSETS_DIMENSIONS": "8", "EMBEDDING_ASSETS_LOCK_LEASE_SECONDS": "2"}
CREATE = "POST /v1/batches"
UPLOAD = "POST /v1/files"
FIRST = range(10)
SECOND = range(6, 18)
"""Numbers of the records of the two files: four are in both."""
LONGEST_SECONDS = 120.0


def begin(world: World, numbers: range, name: str) -> BaseProcess:
    """Start a submission of these records in a directory of its own."""
    folder = world.home / name
    folder.mkdir()
    path = folder / "records.jsonl"
    path.write_text("".join(f'{{"id": "r{number}", "text": "line number {number}"}}\n' for number in numbers))
    environment = {**os.environ, **world.environment}
    return start_command(["submit", "lines", str(path), "--json"], environment, folder)


def ended(world: World, process: BaseProcess, name: str) -> Any:
    """The document that a submission printed."""
    process.join(LONGEST_SECONDS)
    assert process.exitcode == 0, (world.home / name / "stderr").read_text()
    return json.loads((world.home / name / "stdout").read_text())


def sent(world: World) -> Counter[str]:
    """How often each record is in a batch that was made at OpenAI."""
    listed = world.server.control.get("/v1/batches").json()["data"]
    made = [batch["metadata"]["batch_id"] for batch in listed]
    assert sorted(made) == sorted(row.batch_id for row in world.services.ledger.live(LINES).ready_to_plan)
    store = world.services.store
    return Counter(
        json.loads(line)["id"] for batch_id in made for line in store.get(records_key(batch_id)).splitlines()
    )


def test_overlapping_files_at_once_are_paid_once(
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    tmp_path: Path,
) -> None:
    """While one sends, the other waits; then it sends what is left and skips what both files have."""
    with open_world(stack, aws, openai_clients[1], tmp_path, **ENVIRONMENT) as world:
        world.server.fault(UPLOAD, times=1, delay_seconds=3.0)
        processes = {"first": begin(world, FIRST, "first"), "second": begin(world, SECOND, "second")}
        told = {name: ended(world, process, name) for name, process in processes.items()}
        assert sent(world) == Counter(f"r{number}" for number in {*FIRST, *SECOND})
        assert sum(one["requests"] for one in told.values()) == 18
        assert sum(one["skipped"] for one in told.values()) == 4
        waited = [name for name in told if "waiting for the claim" in (world.home / name / "stderr").read_text()]
        assert len(waited) == 1


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see that a process is gone")
def test_a_killed_submission_is_not_waited_for(
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    tmp_path: Path,
) -> None:
    """Its claim is taken over at once, however long its lease; run again, it sends what is left of it."""
    environment = {**ENVIRONMENT, "EMBEDDING_ASSETS_LOCK_LEASE_SECONDS": "600"}
    with open_world(stack, aws, openai_clients[1], tmp_path, **environment) as world:
        world.server.fault(UPLOAD, times=1, delay_seconds=5.0)
        first = begin(world, FIRST, "first")
        deadline = time.monotonic() + LONGEST_SECONDS
        while not world.keys("records/"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        first.kill()
        first.join()
        began = time.monotonic()
        second = ended(world, begin(world, SECOND, "second"), "second")
        assert time.monotonic() - began < LONGEST_SECONDS
        assert (second["requests"], second["skipped"]) == (12, 0)
        again = ended(world, begin(world, FIRST, "again"), "again")
        assert (again["requests"], again["skipped"]) == (6, 4)
        assert sent(world) == Counter(f"r{number}" for number in {*FIRST, *SECOND})
