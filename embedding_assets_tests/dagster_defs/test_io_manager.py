"""The values of the six assets: typed, read from the contract's keys, also if only an event told of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg
import httpx
import openai
import pytest

from embedding_assets.dagster_defs.resources import ARTEFACT_IO
from embedding_assets.dagster_defs.runs.ingest import IngestReport
from embedding_assets.errors import DamagedError, NotFoundError
from embedding_assets.executions.intermediate import IntermediateSnapshots
from embedding_assets.executions.plan import Chunk
from embedding_assets.executions.result import FinalMergeResult
from embedding_assets.ledger.batch_summary import BatchSummary
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.world import World, open_world, texts
from embedding_assets_tests.reference import reference_digest

FULL = texts("full-", 3)
PARTLY = texts("partly-", 3, seed=10)


@dataclass(frozen=True)
class Story:
    """One ingest of three batches."""

    world: World
    report: IngestReport

    @property
    def execution(self) -> str:
        """The one execution."""
        (execution,) = self.report.executions
        return execution

    def load(self, asset: str, partition: str) -> Any:
        """The value of one partition."""
        return self.world.defs.load_asset_value(
            dg.AssetKey(["lines", asset]), partition_key=partition, instance=self.world.instance
        )


@pytest.fixture(scope="module")
def story(
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Story]:
    """One batch complete, one in part, one without anything."""
    with open_world(stack, aws, openai_clients[1], tmp_path_factory.mktemp("home")) as world:
        world.plant("full", FULL)
        world.plant("partly", PARTLY, status="cancelled", answered=PARTLY[:1])
        world.plant("nothing", PARTLY, status="failed", answered=[])
        yield Story(world, world.ingest())


@pytest.mark.parametrize("batch_id", ["full", "partly", "nothing"])
def test_batches_gives_the_row_as_it_is(story: Story, batch_id: str) -> None:
    """A BatchSummary, and the same that the table has, also after the batch got its final status."""
    loaded = story.load("batches", batch_id)
    assert isinstance(loaded, BatchSummary)
    assert loaded == story.world.services.ledger.get(batch_id)


@pytest.mark.parametrize(
    ("batch_id", "action", "embedded"),
    [("full", "process_results", 3), ("partly", "process_partial", 1), ("nothing", "handle_failure", 0)],
)
def test_poll_results_gives_what_was_delivered(story: Story, batch_id: str, action: str, embedded: int) -> None:
    """A PollResult of this batch."""
    loaded = story.load("poll_results", batch_id)
    assert isinstance(loaded, PollResult)
    assert (loaded.batch_id, loaded.action, loaded.embedding_count) == (batch_id, action, embedded)


def test_execution_poll_results_gives_all_of_the_execution(story: Story) -> None:
    """A list of PollResults, each equal to that of its batch alone."""
    loaded = story.load("execution_poll_results", story.execution)
    assert isinstance(loaded, list)
    assert all(isinstance(result, PollResult) for result in loaded)
    by_batch = {result.batch_id: result for result in loaded}
    assert by_batch == {
        batch_id: story.load("poll_results", batch_id) for batch_id in ("full", "partly", "nothing")
    }


def test_chunks_gives_the_plan_of_the_merge(story: Story) -> None:
    """A list of Chunks; what has no delta is in none."""
    loaded = story.load("chunks", story.execution)
    assert [type(chunk) for chunk in loaded] == [Chunk]
    assert [result.batch_id for result in loaded[0].delta_results] == ["full", "partly"]


def test_intermediate_snapshots_gives_where_they_are(story: Story) -> None:
    """IntermediateSnapshots, whose prefixes hold files."""
    loaded = story.load("intermediate_snapshots", story.execution)
    assert isinstance(loaded, IntermediateSnapshots)
    (part,) = loaded.intermediates
    assert story.world.keys(part.intermediate_key) == {
        f"{part.intermediate_key}manifest.json",
        f"{part.intermediate_key}records.arrow",
    }


def test_final_snapshot_gives_what_was_published(story: Story) -> None:
    """A FinalMergeResult with the contract's fields."""
    loaded = story.load("final_snapshot", story.execution)
    assert isinstance(loaded, FinalMergeResult)
    assert loaded.execution_id == story.execution
    assert loaded.snapshot_key == "lines/snapshot/latest/"
    assert loaded.snapshot_version == story.world.published().version
    assert (loaded.total_embeddings, loaded.added, loaded.updated, loaded.unchanged) == (4, 4, 0, 0)
    assert set(loaded.batches) == {"full", "partly"}
    assert loaded.content_digest == reference_digest([*FULL, *PARTLY[:1]])


def test_several_partitions_load_as_a_mapping(story: Story) -> None:
    """An asset that stands on all batches gets the poll result of each, by batch id."""
    seen: dict[str, Any] = {}

    @dg.asset(
        ins={
            "results": dg.AssetIn(["lines", "poll_results"], partition_mapping=dg.AllPartitionMapping()),
        }
    )
    def summary(results: dict[str, PollResult]) -> None:
        seen.update(results)

    polled = dg.AssetSpec(
        ["lines", "poll_results"], partitions_def=dg.DynamicPartitionsDefinition(name="lines_batches")
    ).with_io_manager_key(ARTEFACT_IO)
    result = dg.materialize(
        [summary, polled],
        selection=[summary],
        resources={ARTEFACT_IO: story.world.defs.resources[ARTEFACT_IO]},  # type: ignore[index]
        instance=story.world.instance,
    )
    assert result.success
    assert seen == {batch_id: story.load("poll_results", batch_id) for batch_id in ("full", "partly", "nothing")}


def test_a_value_that_is_not_there_is_told(story: Story) -> None:
    """Our own error, which names the object."""
    instance = story.world.instance
    instance.add_dynamic_partitions("lines_batches", ["missing"])
    try:
        with pytest.raises(NotFoundError, match=f"s3://{story.world.bucket}/poll_results/missing/result.json"):
            story.load("poll_results", "missing")
    finally:
        instance.delete_dynamic_partition("lines_batches", "missing")


def test_a_damaged_value_is_told(story: Story) -> None:
    """Neither half a value nor pydantic's page of text: one line that names the object and the field."""
    store = story.world.services.store
    damaged = story.world.json("poll_results/full/result.json") | {"embedding_count": "many"}
    kept = store.get("poll_results/full/result.json")
    store.put("poll_results/full/result.json", json.dumps(damaged).encode())
    try:
        with pytest.raises(DamagedError, match=r"poll_results/full/result\.json .*: embedding_count: [^\n]+$"):
            story.load("poll_results", "full")
    finally:
        store.put("poll_results/full/result.json", kept)
