"""`{db}_completion`: marks from the published chain whatever woke it, once, and repairs what was missed."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import dagster as dg
import pytest

from embedding_assets.bucket.keys import versions_prefix
from embedding_assets.dagster_defs.sensors import completion
from embedding_assets.databases import LINES
from embedding_assets.errors import DamagedVersionError
from embedding_assets.executions.intermediate import IntermediateSnapshots
from embedding_assets.executions.plan import Intermediate, split_chunks
from embedding_assets_tests.dagster_defs.runs.world import World, texts, tick
from embedding_assets_tests.deltas import put_delta

SENSOR = "lines_completion"


def publish(world: World, execution_id: str, batch_ids: Sequence[str], *, tell: bool = True) -> str:
    """Publish a version of new batches and, unless it got lost, tell Dagster; nothing is marked."""
    results = []
    for batch_id in batch_ids:
        world.put_row(batch_id)
        results.append(put_delta(world.services.store, batch_id, texts(f"{batch_id}-", 2)))
    merger = world.services.intermediate_merger(LINES)
    merged = tuple(merger.merge_chunk(chunk) for chunk in split_chunks(execution_id, results, 10))
    snapshots = IntermediateSnapshots(
        execution_id=execution_id,
        intermediates=tuple(Intermediate(intermediate_key=part.intermediate_key) for part in merged),
        chunks=merged,
    )
    final = world.services.final_merger(LINES, lambda line: None).merge(results, snapshots)
    if tell:
        report(world, execution_id)
    assert final.snapshot_version is not None
    return final.snapshot_version


def report(world: World, execution_id: str) -> None:
    """One materialization of the final snapshot."""
    event = dg.AssetMaterialization(asset_key=["lines", "final_snapshot"], partition=execution_id)
    world.instance.report_runless_asset_event(event)


def newest_storage_id(world: World) -> int:
    """The storage id of the last materialization of the final snapshot."""
    page = world.instance.fetch_materializations(dg.AssetKey(["lines", "final_snapshot"]), limit=1)
    return page.records[0].storage_id


def test_five_executions_between_two_ticks_are_all_marked(world: World) -> None:
    """Each row gets the version that published it; the next tick finds nothing; each mark is an event."""
    first = tick(world, SENSOR)
    assert first.skip_message == "0 new materializations of the final snapshot, no batch left to mark"
    batches = {f"execution-{number}": [f"b{number}-0", f"b{number}-1"] for number in range(5)}
    versions = {execution: publish(world, execution, ids) for execution, ids in batches.items()}
    assert set(world.statuses().values()) == {"PENDING"}

    data = tick(world, SENSOR, cursor=first.cursor)
    assert data.skip_message == "marked 10 batches"
    for execution, ids in batches.items():
        for batch_id in ids:
            row = world.row(batch_id)
            assert (row["status"], row["GSI1PK"]) == ("COMPLETED", "STATUS#COMPLETED")
            assert (row["execution_id"], row["snapshot_version"]) == (execution, versions[execution])
            assert row["embedded_count"] == Decimal(2)
    events = world.marks()
    assert sorted(event.partition or "" for event in events) == [
        f"b{execution}-{number}" for execution in range(5) for number in range(2)
    ]
    assert {event.metadata["status"].value for event in events} == {"COMPLETED"}
    assert data.cursor == str(newest_storage_id(world))

    before = world.objects(), world.rows()
    again = tick(world, SENSOR, cursor=data.cursor)
    assert again.skip_message == "0 new materializations of the final snapshot, no batch left to mark"
    assert again.cursor == data.cursor
    assert world.marks() == events
    assert (world.objects(), world.rows()) == before


def test_it_pages_all_events_since_its_cursor(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than two pages between two ticks: all are seen once, those before the cursor never again."""
    monkeypatch.setattr(completion, "PAGE", 5)
    for number in range(12):
        report(world, f"execution-{number}")
    data = tick(world, SENSOR)
    assert data.skip_message == "12 new materializations of the final snapshot, no batch left to mark"
    assert data.cursor == str(newest_storage_id(world))
    report(world, "one-more")
    later = tick(world, SENSOR, cursor=data.cursor)
    assert later.skip_message == "1 new materializations of the final snapshot, no batch left to mark"


def test_a_tick_repairs_without_any_event(world: World) -> None:
    """An event lost in a crash, a tick that raised: the chain itself tells the next one what is to be marked."""
    first = publish(world, "told", ["seen"])
    cursor = tick(world, SENSOR).cursor
    publish(world, "lost", ["missed-0", "missed-1"], tell=False)
    manifest = f"{versions_prefix(LINES)}{first}/manifest.json"
    kept = world.services.store.get(manifest)
    bookmark = world.rows()["MARKED#lines"]
    world.dynamodb.delete_item(TableName=world.table, Key={name: {"S": bookmark[name]} for name in ("PK", "SK")})
    world.services.store.delete([manifest])
    with pytest.raises(DamagedVersionError, match=first):
        tick(world, SENSOR, cursor=cursor)
    assert world.statuses() == {"seen": "COMPLETED", "missed-0": "PENDING", "missed-1": "PENDING"}

    world.services.store.put(manifest, kept)
    data = tick(world, SENSOR, cursor=cursor)
    assert (data.skip_message, data.cursor) == ("marked 2 batches", cursor)
    assert world.statuses() == dict.fromkeys(("seen", "missed-0", "missed-1"), "COMPLETED")


def test_it_marks_only_what_is_live_and_of_the_published_generation(world: World) -> None:
    """A row that was reset, or opened again since the version was built, is not touched."""
    publish(world, "one", ["reset", "reopened", "live"])
    world.put_row("reset", status="FAILED")
    world.put_row("reopened", generation=1)
    before = world.rows()
    assert tick(world, SENSOR).skip_message == "marked 1 batches"
    assert world.statuses() == {"reset": "FAILED", "reopened": "PENDING", "live": "COMPLETED"}
    after = world.rows()
    for batch_id in ("reset", "reopened"):
        assert after[f"BATCH#{batch_id}"] == before[f"BATCH#{batch_id}"]
