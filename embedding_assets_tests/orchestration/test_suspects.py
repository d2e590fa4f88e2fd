"""Batches whose executions fail: planned alone after two failures, set aside after three of their own."""

from __future__ import annotations

import dagster as dg

from embedding_assets.databases import LINES
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.orchestration.execution import write_manifest
from embedding_assets.orchestration.suspects import choose
from embedding_assets_tests.orchestration.world import World, add_run, texts, tick


def ready(world: World) -> tuple[BatchSummary, ...]:
    """All live rows that are not set aside."""
    return world.services.ledger.live(LINES).ready_to_plan


def ended(world: World, *batch_ids: str, status: dg.DagsterRunStatus = dg.DagsterRunStatus.FAILURE) -> None:
    """An execution over these batches that ended so, without naming one of them."""
    chosen = [row for row in ready(world) if row.batch_id in batch_ids]
    manifest = write_manifest(world.services.store, LINES, chosen)
    add_run(world.instance, manifest.execution_id, status=status)


def planned(world: World) -> list[str]:
    """Which batches the next execution would be about."""
    found = choose(world.services.store, world.services.ledger, world.instance, LINES, ready(world))
    return [batch.batch_id for batch in found]


def test_a_batch_of_two_failed_executions_is_planned_alone(world: World) -> None:
    """The others go first and together; only then each suspect, one at a time. One failure blames nobody."""
    for batch_id in ("a", "b", "c", "d"):
        world.put_row(batch_id)
    ended(world, "a", "b", "c")
    assert planned(world) == ["a", "b", "c", "d"]
    ended(world, "a", "b")
    assert planned(world) == ["c", "d"]
    for batch_id in ("c", "d"):
        world.put_row(batch_id, status="COMPLETED")
    assert planned(world) == ["a"]


def test_executions_that_went_well_count_for_nothing(world: World) -> None:
    """Only failures do."""
    for batch_id in ("a", "b"):
        world.put_row(batch_id)
    for status in (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.CANCELED):
        for _ in range(2):
            ended(world, "a", "b", status=status)
    assert planned(world) == ["a", "b"]


def test_three_failures_of_its_own_set_a_suspect_aside(world: World) -> None:
    """With a reason; the next suspect has its turn, and a reset gives it another chance."""
    for batch_id in ("a", "b"):
        world.put_row(batch_id)
    for _ in range(2):
        ended(world, "a", "b")
    for _ in range(2):
        ended(world, "a")
        assert planned(world) == ["a"]
    ended(world, "a")
    assert planned(world) == ["b"]
    assert world.row("a")["set_aside"].startswith("3 executions of this batch alone failed")
    assert [row.batch_id for row in ready(world)] == ["b"]

    world.services.ledger.reset(world.services.ledger.get("a"), Status.PENDING)
    assert planned(world) == ["a"]
    world.put_row("b", status="COMPLETED")
    assert planned(world) == ["a"]


def test_the_sensor_says_that_nothing_is_left_to_plan(world: World) -> None:
    """No execution over no batch."""
    world.plant("a", texts("a-", 1))
    for _ in range(3):
        ended(world, "a")
    before = world.keys("manifests/")
    data = tick(world, "lines_pending_batches")
    assert (data.run_requests, data.skip_message) == ([], "every ready batch was set aside")
    assert world.keys("manifests/") == before
