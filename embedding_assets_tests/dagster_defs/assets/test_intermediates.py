"""Steps of `intermediate_snapshots`: one in one process; with processes a few, or one for each chunk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import httpx
import openai
import pytest

from embedding_assets.dagster_defs.runs import ingest
from embedding_assets.executions import hierarchy
from embedding_assets.executions.intermediate import IntermediateSnapshots
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.world import World, open_world, texts
from embedding_assets_tests.reference import reference_digest

BATCHES = {f"b{number}": texts(f"b{number}-", 2, seed=2 * number) for number in range(5)}
CHUNKS_OF_TWO = {
    "EMBEDDING_ASSETS_CHUNK_SIZE": "2",
    "EMBEDDING_ASSETS_GROUP_SIZE": "2",
    "EMBEDDING_ASSETS_GROUP_THRESHOLD": "1",
}
STEP = "lines__intermediate_snapshots"
OWN_STEPS = [
    f"{STEP}.lines_each_chunk",
    f"{STEP}.lines_each_group",
    f"{STEP}.lines_list_intermediates",
]
MAPPED = [f"{STEP}.lines_merge_chunk[chunk_{number}]" for number in range(3)]
MAPPED += [f"{STEP}.lines_merge_group[group_{number}]" for number in range(2)]


@pytest.fixture(params=["in_process", "multiprocess"])
def executor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the definitions are made for. The runs here are in one process whatever they are made for."""
    monkeypatch.setattr(ingest, "run_config", lambda settings: {"execution": {"config": {"in_process": {}}}})
    return str(request.param)


@pytest.fixture
def world(
    executor: str,
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    tmp_path: Path,
) -> Iterator[World]:
    """Five batches, so three chunks and two groups."""
    environment = {**CHUNKS_OF_TWO, "EMBEDDING_ASSETS_EXECUTOR": executor}
    with open_world(stack, aws, openai_clients[1], tmp_path, **environment) as opened:
        for batch_id, records in BATCHES.items():
            opened.plant(batch_id, records)
        yield opened


@pytest.mark.parametrize("small_up_to", [hierarchy.SMALL_UP_TO, 0], ids=["small", "large"])
def test_the_same_snapshots_by_fewer_steps(
    world: World, executor: str, small_up_to: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks, groups and the published version are the same; how many steps made them is not."""
    monkeypatch.setattr(hierarchy, "SMALL_UP_TO", small_up_to)
    report = world.ingest()
    assert report.failures == []
    (execution,) = report.executions
    (run,) = world.instance.get_runs()
    starts = world.instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.STEP_START).records
    steps = sorted(key for record in starts if (key := record.event_log_entry.step_key or "").startswith(STEP))
    mapped = MAPPED if small_up_to == 0 else []
    assert steps == ([STEP] if executor == "in_process" else sorted([*OWN_STEPS, *mapped]))
    value = world.defs.load_asset_value(
        dg.AssetKey(["lines", "intermediate_snapshots"]), partition_key=execution, instance=world.instance
    )
    assert isinstance(value, IntermediateSnapshots)
    assert [part.intermediate_key for part in value.chunks] == [
        f"intermediate/{execution}/chunk-{number}/" for number in range(3)
    ]
    groups = [f"intermediate/{execution}-group-{number}/merged/" for number in range(2)]
    assert [part.intermediate_key for part in value.groups] == groups
    assert [part.intermediate_key for part in value.intermediates] == groups
    assert [part.count for part in value.groups] == [8, 2]
    assert world.json(f"chunk_groups/{execution}/groups.json") == [
        [{"intermediate_key": part.intermediate_key} for part in value.chunks[:2]],
        [{"intermediate_key": value.chunks[2].intermediate_key}],
    ]
    (event,) = world.materializations(world.services.settings.database("lines"), "intermediate_snapshots")
    told = {name: event.metadata[name].value for name in ("chunks", "groups", "rows_in", "rows_out", "reused")}
    assert told == {"chunks": 3, "groups": 2, "rows_in": 10, "rows_out": 10, "reused": 0}
    everything = [one for records in BATCHES.values() for one in records]
    assert world.published().content_digest == reference_digest(everything)
    passed = world.keys("dagster/")
    assert len(passed) == (0 if executor == "in_process" else 1 + 2 * len(mapped))
    for key in passed:
        world.json(key)
