"""A backlog of 1,500 batches, 20 of them ready: what one planning tick costs."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from embedding_assets.ledger.batch_summary import parse_instant
from embedding_assets_tests.dagster_defs.runs.world import SUBMITTED, World, tick
from embedding_assets_tests.pending_rows import put_pending

BACKLOG = 1500
READY = 20
UNLISTED = 60
"""Batches that OpenAI does not know any more: no list shows them, and polling them is what ends them."""
SINGLES = 50
PAGES = 15
MOST_SECONDS = 30.0
"""Far more than it takes: the machine may be busy."""
LIST = "GET /v1/batches"
RETRIEVE = "GET /v1/batches/{id}"

logger = logging.getLogger(__name__)


def plant(world: World, batch_ids: Sequence[str], ready: Sequence[str]) -> None:
    """All of them at OpenAI, created when they were submitted."""
    created = int(parse_instant(SUBMITTED).timestamp())

    def one(batch_id: str) -> None:
        status = "completed" if batch_id in ready else "in_progress"
        world.server.plant(f"openai-{batch_id}", status=status, created_at=created)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, batch_ids))


def timed_tick(world: World) -> tuple[list[str], float]:
    """The batches that one tick plans, and the seconds that it took."""
    world.server.order("counters/reset")
    started = time.monotonic()
    (request,) = tick(world, "lines_pending_batches").run_requests or []
    seconds = time.monotonic() - started
    manifest = world.json(f"manifests/{request.partition_key}/batches.json")
    return [planned["batch_id"] for planned in manifest["batches"]], seconds


def test_a_tick_over_a_backlog_asks_page_by_page(world: World) -> None:
    """20 of 1,500 are ready: 15 pages and not one single question; the execution is of exactly those 20."""
    batch_ids = [f"b{number:04}" for number in range(BACKLOG)]
    ready = batch_ids[:: BACKLOG // READY]
    put_pending(world.dynamodb, world.table, batch_ids, parse_instant(SUBMITTED))
    plant(world, batch_ids, ready)
    planned, seconds = timed_tick(world)
    logger.warning("a tick over %d pending rows, %d ready: %.2f s", BACKLOG, READY, seconds)
    assert planned == ready
    assert (world.server.requests(LIST), world.server.requests(RETRIEVE)) == (PAGES, 0)
    assert set(world.instance.get_dynamic_partitions("lines_batches")) == set(batch_ids)
    assert seconds < MOST_SECONDS


def test_batches_that_no_list_shows_cost_fifty_questions_at_most(world: World) -> None:
    """60 of 300 are unknown to OpenAI: three pages, 50 of them asked for singly, the others at a later tick."""
    batch_ids = [f"b{number:04}" for number in range(300)]
    put_pending(world.dynamodb, world.table, batch_ids, parse_instant(SUBMITTED))
    plant(world, batch_ids[UNLISTED:], [])
    planned, _ = timed_tick(world)
    assert planned == batch_ids[:SINGLES]
    assert (world.server.requests(LIST), world.server.requests(RETRIEVE)) == (3, SINGLES)
