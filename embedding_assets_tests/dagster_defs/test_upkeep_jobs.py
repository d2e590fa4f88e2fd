"""The jobs that are started by clicking, in a real Dagster instance, with their defaults."""

from __future__ import annotations

from typing import Any

import dagster as dg

from embedding_assets.databases import LINES
from embedding_assets_tests.dagster_defs.runs.world import World, texts


def run(world: World, job: str, **config: Any) -> dg.ExecuteInProcessResult:
    """Run a job, with what somebody types into its one op's configuration."""
    definition = world.defs.resolve_job_def(job)
    [op] = [node.name for node in definition.nodes]
    given = {"ops": {op: {"config": config}}} if config else None
    return definition.execute_in_process(run_config=given, instance=world.instance, raise_on_error=False)


def test_by_clicking(world: World) -> None:
    """A rollback is shown as what is published now; verify and gc change nothing; a batch is opened again."""
    world.plant("first", texts("a", 3))
    first = world.ingest().executions[0]
    before = world.published()
    world.plant("second", texts("b", 2))
    world.ingest()
    newest = world.published()

    assert run(world, "rollback_lines", dry_run=True).success
    assert world.published() == newest
    assert run(world, "rollback_lines").success
    published = world.published()
    assert published.rolled_back_to == before.version
    shown = world.materializations(LINES, "final_snapshot")[-1]
    assert shown.partition is None
    assert shown.metadata["snapshot_version"].value == published.version
    assert shown.metadata["total_embeddings"].value == 3
    assert shown.metadata["withdrawn"].value == ["second"]

    objects = world.objects()
    assert run(world, "verify_lines").success
    assert run(world, "gc_lines").success
    assert world.objects() == objects, "by default a gc only says what it would delete"

    assert run(world, "reprocess_lines", batch_ids=["second"]).success
    assert world.services.ledger.get("second").status == "PENDING"
    assert not run(world, "reprocess_lines", batch_ids=["second"]).success, "it is live"
    assert run(world, "reset_lines", batch_ids=["second"], status="FAILED").success
    assert world.services.ledger.get("second").status == "FAILED"

    assert not run(world, "acknowledge_lines", batch_ids=["second"], reason="a test").success, "it lacks nothing"
    world.put_row("lost", status="EXPIRED", unfinished_count=1)
    assert run(world, "acknowledge_lines", batch_ids=["lost"], reason="a test").success
    assert world.services.ledger.get("lost").acknowledged == "a test"

    again = world.defs.resolve_job_def("ingest_lines").execute_in_process(
        partition_key=first, instance=world.instance
    )
    assert again.success
    line = str(world.materializations(LINES, "final_snapshot")[-1].metadata["published_now"].value)
    assert line == (
        "An execution that is run again changes nothing. Published now: "
        f"**Version {published.version}**, 3 embeddings, the content of {before.version} again"
    )
    assert world.published() == published


def test_a_damaged_version_fails_its_verification(world: World) -> None:
    """The run says which file."""
    world.plant("first", texts("a", 3))
    world.ingest()
    key = next(file.key for file in world.published().files if file.path == "records.arrow")
    world.services.store.put(key, b"damaged")
    result = run(world, "verify_lines")
    assert not result.success
    [event] = [event for event in result.all_events if event.is_step_failure]
    assert "records.arrow" in str(event.step_failure_data)
