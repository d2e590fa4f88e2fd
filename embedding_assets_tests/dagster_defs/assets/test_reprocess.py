"""`poll_results` materialized by hand: several batches in one run, and the way back into a new version."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import dagster as dg

from embedding_assets.bucket.keys import delta_prefix
from embedding_assets.databases import LINES
from embedding_assets_tests.dagster_defs.runs.world import World, texts
from embedding_assets_tests.deltas import records
from embedding_assets_tests.reference import reference_digest

DONE = {batch_id: texts(f"{batch_id}-", 2, seed=10 * number) for number, batch_id in enumerate(("a", "b", "d"))}
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"


def by_hand(world: World, asset: str, partitions: Sequence[str]) -> dg.ExecuteInProcessResult:
    """Materialize a range of batches in a single run, as the UI's button does."""
    return world.defs.resolve_implicit_global_asset_job_def().execute_in_process(
        asset_selection=[dg.AssetKey(["lines", asset])],
        tags={RANGE_START: partitions[0], RANGE_END: partitions[-1]},
        instance=world.instance,
        raise_on_error=False,
    )


def partitions_of(
    world: World, result: dg.ExecuteInProcessResult, asset: str = "poll_results"
) -> list[str | None]:
    """Which partitions of an asset a run materialized, as the event log has it."""
    page = world.instance.get_records_for_run(result.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    key = dg.AssetKey(["lines", asset])
    return [record.partition_key for record in page.records if record.asset_key == key]


def why_not(result: dg.ExecuteInProcessResult) -> str:
    """Why a run failed."""
    (failure,) = result.get_step_failure_events()
    data = failure.step_failure_data.user_failure_data
    assert data is not None
    return data.description or ""


def test_batches_polled_by_hand_come_into_a_new_version(world: World) -> None:
    """Of four, one is not ready: three are told done, the run fails, and the next ingest publishes them again."""
    for batch_id, wanted in DONE.items():
        world.plant(batch_id, wanted)
    assert sorted(world.ingest().marked) == ["a", "b", "d"]
    first = world.published()
    world.plant("c", texts("c-", 1), status="in_progress")
    world.instance.delete_dynamic_partition("lines_batches", "d")
    world.instance.add_dynamic_partitions("lines_batches", ["c", "d"])
    corrected = records("a-", 2, seed=50)
    lines = [json.dumps({"id": one.id, "document": one.document}) for one in corrected]
    world.services.store.put("records/a.jsonl", "\n".join(lines).encode())

    result = by_hand(world, "poll_results", ["a", "b", "c", "d"])
    assert not result.success
    assert partitions_of(world, result) == partitions_of(world, result, "batches") == ["a", "b", "d"]
    assert world.json("poll_results/a/batch.json")["status"] == "PENDING"
    (failure,) = result.get_step_failure_events()
    data = failure.step_failure_data
    assert data.user_failure_data is not None
    assert data.user_failure_data.description is not None
    assert data.user_failure_data.description.startswith("1 not polled: c: ")
    rows = world.rows()
    reopened = {batch_id: rows[f"BATCH#{batch_id}"] for batch_id in DONE}
    assert {row["status"] for row in reopened.values()} == {"PENDING"}
    assert {row["GSI1PK"] for row in reopened.values()} == {"STATUS#PENDING"}
    assert {int(row["generation"]) for row in reopened.values()} == {1}
    assert "generation" not in rows["BATCH#c"]
    assert world.published() == first

    report = world.ingest()
    assert (sorted(report.marked), report.waiting) == (["a", "b", "d"], ["c"])
    second = world.published()
    assert (second.version, second.parent) == (report.versions["lines"], first.version)
    assert {(batch.batch_id, batch.generation) for batch in second.batches} == {("a", 1), ("b", 1), ("d", 1)}
    assert (second.added, second.updated, second.unchanged) == (0, 2, 4)
    again = [replace(old, document=new.document) for old, new in zip(DONE["a"], corrected, strict=True)]
    assert second.content_digest == reference_digest([*again, *DONE["b"], *DONE["d"]])
    assert {world.row(batch_id)["status"] for batch_id in DONE} == {"COMPLETED"}
    assert {world.row(batch_id)["snapshot_version"] for batch_id in DONE} == {second.version}


def test_a_live_batch_polled_by_hand_is_not_opened_again(world: World) -> None:
    """Its generation stays; one without a single embedding ends at once, as it would in an execution."""
    world.plant("ready", texts("ready-", 2))
    world.plant("useless", texts("u-", 1), status="failed", answered=[])
    world.instance.add_dynamic_partitions("lines_batches", ["ready", "useless"])
    before = world.row("ready")
    result = by_hand(world, "poll_results", ["ready", "useless"])
    assert result.success
    assert partitions_of(world, result) == ["ready", "useless"]
    assert partitions_of(world, result, "batches") == ["useless"]
    assert world.json("poll_results/useless/batch.json")["status"] == "FAILED"
    assert world.row("ready") == before
    assert world.row("useless")["status"] == "FAILED"
    assert world.keys("manifests/", "lines/snapshot/") == set()
    assert len(world.keys(delta_prefix(LINES))) == 2


def test_what_openai_does_not_show_by_hand(world: World) -> None:
    """With the key of another project nothing is changed; with the right one a live batch is missing from then on.

    A final one that is missing stays as it is, with the result of its earlier poll.
    """
    world.instance.add_dynamic_partitions("lines_batches", ["final", "live"])
    recent = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    world.put_row("live", submitted_at=recent)
    before = world.rows(), world.objects()
    assert "another project" in why_not(by_hand(world, "poll_results", ["live"]))
    assert (world.rows(), world.objects()) == before
    world.plant("known", texts("k-", 1), row={"status": "COMPLETED"})
    world.put_row("final", submitted_at=recent, status="COMPLETED")
    final = world.row("final")
    reason = why_not(by_hand(world, "poll_results", ["final", "live"]))
    assert reason.count("does not know this batch; it is looked for again") == 2
    assert (world.row("live")["status"], "missing_since" in world.row("live")) == ("PENDING", True)
    assert world.row("final") == final
    assert world.keys("poll_results/") == {"poll_results/live/result.json"}


def test_the_rows_themselves_can_be_looked_at_by_hand(world: World) -> None:
    """`batches` tells each row as it is and changes none; a batch without a row fails the run."""
    for batch_id in ("one", "two"):
        world.put_row(batch_id)
    world.instance.add_dynamic_partitions("lines_batches", ["one", "two", "missing"])
    before = world.rows()
    result = by_hand(world, "batches", ["one", "two"])
    assert result.success
    assert partitions_of(world, result, "batches") == ["one", "two"]
    assert world.rows() == before
    assert not by_hand(world, "batches", ["missing"]).success
