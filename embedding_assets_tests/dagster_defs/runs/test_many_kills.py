"""kill -9 at 30 random moments of an ingest of 3,000 embeddings, from outside: run again, it has one digest."""

from __future__ import annotations

import logging
import os
import random
import time
from collections import Counter

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

LOG = logging.getLogger(__name__)
KILLS = 30
BATCHES = 30
A_BATCH = 100
ENVIRONMENT = {"EMBEDDING_ASSETS_LOCK_LEASE_SECONDS": "1"}
BY_BATCH = {f"batch-{number}": texts(f"{number}-", A_BATCH, seed=A_BATCH * number) for number in range(BATCHES)}
DIGEST = reference_digest([one for wanted in BY_BATCH.values() for one in wanted])
START_SECONDS = 120


def run(world: World, seconds: float | None) -> tuple[float, bool]:
    """Start an ingest and kill it so long after it began. How long it ran, and whether it was killed."""
    process = start_command(
        ["ingest", "--until-drained", "--json"], {**os.environ, **world.environment}, world.home
    )
    begun = time.monotonic()
    process.join(seconds if seconds is not None else START_SECONDS)
    alive = process.is_alive()
    process.kill()
    process.join()
    return time.monotonic() - begun, alive


@pytest.mark.long
def test_killed_at_thirty_moments(
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Each in a world of its own: killed once at a random moment, then run until it ends."""
    chance = random.Random(20261121)
    whole = 0.0
    found: Counter[str] = Counter()
    for number in range(KILLS + 1):
        home = tmp_path_factory.mktemp("home")
        with open_world(stack, aws, openai_clients[1], home, **ENVIRONMENT) as world:
            for batch_id, wanted in BY_BATCH.items():
                world.plant(batch_id, wanted)
            if number == 0:
                whole, killed = run(world, None)
                assert not killed
            else:
                _, killed = run(world, chance.uniform(0.0, whole))
                found[_state(world) if killed else "ended before"] += 1
                _, unfinished = run(world, None)
                assert not unfinished, "it did not end"
            assert_all_is_done(world)
    LOG.warning("an ingest takes %.1f s; killed while: %s", whole, dict(found))
    assert found.total() == KILLS
    assert found.total() - found["ended before"] >= KILLS // 2


def _state(world: World) -> str:
    """How far the killed one had come."""
    if set(world.statuses().values()) != {"PENDING"}:
        return "marking"
    if world.keys(pointer_key(LINES)):
        return "published"
    if world.rows().get("LOCK#lines", {}).get("owner"):
        return "merging"
    if world.keys(delta_prefix(LINES)):
        return "polling"
    return "planning"


def assert_all_is_done(world: World) -> None:
    """One digest, every batch marked, each once in the chain."""
    manifest = world.published()
    assert manifest.content_digest == DIGEST
    assert manifest.total_embeddings == BATCHES * A_BATCH
    assert world.statuses() == dict.fromkeys(BY_BATCH, "COMPLETED")
    versions = chain(world.services.store, LINES, manifest)
    accounted = [batch.batch_id for version in versions for batch in version.batches]
    assert sorted(accounted) == sorted(BY_BATCH)
