"""kill -9 at 20 random moments of a submission of 120,000 records, from outside: run again, each is sent once.

Reading takes most of the time and costs nothing: three of four are killed at a moment after it.
"""

from __future__ import annotations

import json
import logging
import os
import random
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest

from embedding_assets.bucket.keys import records_key
from embedding_assets.databases import LINES
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.processes import start_command
from embedding_assets_tests.dagster_defs.runs.world import World, open_world

LOG = logging.getLogger(__name__)
KILLS = 20
RECORDS = 120_000
BATCHES = 3
LONGEST_SECONDS = 600
ENVIRONMENT = {"EMBEDDING_ASSETS_DIMENSIONS": "8", "EMBEDDING_ASSETS_LOCK_LEASE_SECONDS": "5"}
SENDING = "batch 1 of"
"""What is told when everything was read."""
HELD = {"hold": "validating", "latency_seconds": 3600}
"""OpenAI takes the batches and does nothing with them."""


@dataclass(frozen=True)
class Run:
    """How long a submission ran, how long of that it was sending, and whether it was killed."""

    seconds: float
    sending: float
    killed: bool


def run(world: World, path: Path, seconds: float | None = None, *, once_sending: bool = False) -> Run:
    """Start a submission and kill it so long after it began, or after it began to send."""
    environment = {**os.environ, **world.environment}
    (world.home / "stderr").write_text("")
    process = start_command(["submit", "lines", str(path), "--json"], environment, world.home)
    begun = since = time.monotonic()
    sending_since: float | None = None
    while process.is_alive() and time.monotonic() - begun < LONGEST_SECONDS:
        if sending_since is None and SENDING in (world.home / "stderr").read_text():
            sending_since = time.monotonic()
        since = begun if not once_sending else sending_since or time.monotonic()
        if seconds is not None and time.monotonic() - since > seconds:
            break
        process.join(0.02)
    ended = time.monotonic()
    killed = process.is_alive()
    process.kill()
    process.join()
    return Run(ended - begun, ended - (sending_since or ended), killed)


def told(world: World) -> dict[str, int]:
    """How many batches and requests the last submission told."""
    document = json.loads((world.home / "stdout").read_text())
    return {"batches": len(document["batches"]), **{name: document[name] for name in ("requests", "skipped")}}


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_killed_at_twenty_moments(
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Each in a world of its own: killed once at a random moment, then run until it ends, then once more."""
    path = tmp_path_factory.mktemp("records") / "records.jsonl"
    path.write_text(
        "".join(f'{{"id": "r{number}", "text": "line number {number}"}}\n' for number in range(RECORDS))
    )
    chance = random.Random(20261121)
    whole = Run(0.0, 0.0, killed=False)
    found: Counter[str] = Counter()
    for number in range(KILLS + 1):
        home = tmp_path_factory.mktemp("home")
        with open_world(stack, aws, openai_clients[1], home, **ENVIRONMENT) as world:
            world.server.order("plans", {"plan": HELD, "next": 1000})
            if number == 0:
                whole = run(world, path)
                assert not whole.killed
                assert told(world) == {"batches": BATCHES, "requests": RECORDS, "skipped": 0}
            else:
                once_sending = number % 4 != 0
                most = whole.sending if once_sending else whole.seconds
                one = run(world, path, chance.uniform(0.0, most), once_sending=once_sending)
                found[_state(world) if one.killed else "ended before"] += 1
                assert not run(world, path).killed, "it did not end"
            assert_each_is_sent_once(world)
            seconds = run(world, path).seconds
            assert told(world) == {"batches": 0, "requests": 0, "skipped": RECORDS}
            assert_each_is_sent_once(world)
            LOG.info("%d: the second time %.1f s, killed so far while %s", number, seconds, dict(found))
    LOG.warning(
        "a submission takes %.1f s, %.1f s of it sending; killed while: %s",
        whole.seconds,
        whole.sending,
        dict(found),
    )
    assert found.total() == KILLS
    assert found.total() - found["ended before"] >= KILLS // 2


def _state(world: World) -> str:
    """How far the killed one had come."""
    made, rows = len(_made(world)), len(world.statuses())
    if made > rows:
        return "made at OpenAI, without a row"
    if made:
        return f"{made} of {BATCHES} sent"
    return "claimed" if world.keys("records/") else "reading"


def _made(world: World) -> list[str]:
    """The batch ids that OpenAI's batches tell."""
    listed = world.server.control.get("/v1/batches").json()["data"]
    return [batch["metadata"]["batch_id"] for batch in listed]


def assert_each_is_sent_once(world: World) -> None:
    """Three batches at OpenAI, each with its row, and every record in one of them."""
    rows = world.services.ledger.live(LINES).ready_to_plan
    assert sorted(_made(world)) == sorted(row.batch_id for row in rows)
    assert len(rows) == BATCHES
    ids = [
        json.loads(line)["id"]
        for row in rows
        for line in world.services.store.get(records_key(row.batch_id)).splitlines()
    ]
    assert len(ids) == len(set(ids)) == RECORDS
    assert sum(row.request_count or 0 for row in rows) == RECORDS
