"""Batches whose executions fail: planned alone after two failures, set aside after three of their own."""

from __future__ import annotations

import shutil

import dagster as dg
import pytest

from embedding_assets.dagster_defs.runs.suspects import choose
from embedding_assets.databases import LINES
from embedding_assets.executions.manifest import write_manifest
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets_tests.dagster_defs.runs.world import World, add_run, texts, tick

CONTENT = "DamagedError: a file is not what it should be"


def ready(world: World) -> tuple[BatchSummary, ...]:
    """All live rows that are not set aside."""
    return world.services.ledger.live(LINES).ready_to_plan


def failed(world: World, *batch_ids: str, reason: str | None = CONTENT) -> None:
    """An execution over these batches whose step failed for this reason; without one it was killed."""
    chosen = [row for row in ready(world) if row.batch_id in batch_ids]
    execution_id = write_manifest(world.services.store, LINES, chosen).execution_id
    if reason is None:
        add_run(world.instance, execution_id, status=dg.DagsterRunStatus.FAILURE)
        return

    @dg.op
    def fails() -> None:
        raise dg.Failure(reason)

    job = dg.GraphDefinition(name="ingest_lines", node_defs=[fails]).to_job()
    result = job.execute_in_process(
        instance=world.instance,
        tags={"dagster/partition": execution_id},
        raise_on_error=False,
    )
    assert not result.success


def planned(world: World) -> list[str]:
    """Which batches the next execution would be about."""
    found = choose(world.services.store, world.services.ledger, world.instance, LINES, ready(world))
    return [batch.batch_id for batch in found]


def test_a_batch_of_two_failed_executions_is_planned_alone(world: World) -> None:
    """The others go first and together; only then each suspect, one at a time. One failure blames nobody."""
    for batch_id in ("a", "b", "c", "d"):
        world.put_row(batch_id)
    failed(world, "a", "b", "c")
    assert planned(world) == ["a", "b", "c", "d"]
    failed(world, "a", "b")
    assert planned(world) == ["c", "d"]
    for batch_id in ("c", "d"):
        world.put_row(batch_id, status="COMPLETED")
    assert planned(world) == ["a"]


@pytest.mark.parametrize(
    "reason", [None, "TransientError: S3 cannot be reached", "ServiceError: access denied"], ids=str
)
def test_what_no_content_is_to_blame_for_counts_for_nothing(world: World, reason: str | None) -> None:
    """A run that was killed, a network that is down, a permission that is missing: no batch is a suspect."""
    world.put_row("a")
    for _ in range(3):
        failed(world, "a", reason=reason)
    assert planned(world) == ["a"]


def test_three_failures_of_its_own_set_a_suspect_aside(world: World) -> None:
    """With a reason; the next suspect has its turn, and a reset gives it another chance."""
    for batch_id in ("a", "b"):
        world.put_row(batch_id)
    for _ in range(2):
        failed(world, "a", "b")
    for _ in range(2):
        failed(world, "a")
        assert planned(world) == ["a"]
    failed(world, "a")
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
        failed(world, "a")
    before = world.keys("manifests/")
    data = tick(world, "lines_pending_batches")
    assert (data.run_requests, data.skip_message) == ([], "every ready batch was set aside")
    assert world.keys("manifests/") == before


def test_a_damaged_version_is_no_batchs_fault(world: World) -> None:
    """Nothing can be built on what is published until that is mended: meanwhile no batch is set aside for it."""
    world.plant("first", texts("first-", 1))
    assert world.ingest().marked == ["first"]
    index = next(file.key for file in world.published().files if file.path == "records.arrow")
    world.services.store.put(index, b"damaged")
    cache = world.services.settings.base_cache
    assert cache is not None
    shutil.rmtree(cache)
    world.plant("second", texts("second-", 1))
    (failure,) = world.ingest().failures
    assert index in failure
    reason = failure.partition("final_snapshot: ")[2]
    for _ in range(3):
        failed(world, "second", reason=reason)
    assert planned(world) == ["second"]
    assert "set_aside" not in world.row("second")
