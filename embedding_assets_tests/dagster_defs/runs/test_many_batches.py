"""65 batches in one execution: polled no more at once than allowed, merged by chunks and groups, none lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import openai
import pytest

from embedding_assets.dagster_defs.runs.ingest import IngestReport
from embedding_assets.executions.intermediate import IntermediateSnapshots
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.world import World, open_world, texts
from embedding_assets_tests.reference import reference_digest

BATCHES = 65
AT_ONCE = 7
DOWNLOAD_SECONDS = 0.15
CONTENT = "GET /v1/files/{id}/content"
RETRIEVE = "GET /v1/batches/{id}"

BY_BATCH = {f"batch-{number:02}": texts(f"{number:02}-", 2, seed=2 * number) for number in range(BATCHES)}


@dataclass(frozen=True)
class Story:
    """What one `ingest` of all batches did, and what the OpenAI server saw of it."""

    world: World
    report: IngestReport
    counters: dict[str, dict[str, int]]

    @property
    def execution(self) -> str:
        """The one execution."""
        (execution,) = self.report.executions
        return execution


@pytest.fixture(scope="module")
def story(
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Story]:
    """All batches, each of whose files takes a while to come."""
    home = tmp_path_factory.mktemp("home")
    limit = {"EMBEDDING_ASSETS_POLL_CONCURRENCY": str(AT_ONCE)}
    with open_world(stack, aws, openai_clients[1], home, **limit) as world:
        for batch_id, wanted in BY_BATCH.items():
            world.plant(batch_id, wanted)
        world.server.fault(CONTENT, times=None, delay_seconds=DOWNLOAD_SECONDS)
        report = world.ingest()
        yield Story(world, report, world.server.control.get("/_control/counters").json())


def test_all_are_published_and_marked(story: Story) -> None:
    """Every record of every batch is in the version, and every row says so."""
    assert (story.report.failures, story.report.waiting) == ([], [])
    assert story.world.published().content_digest == reference_digest(
        [one for wanted in BY_BATCH.values() for one in wanted]
    )
    assert story.world.statuses() == dict.fromkeys(BY_BATCH, "COMPLETED")
    assert sorted(story.report.marked) == sorted(BY_BATCH)


def test_no_more_batches_are_polled_at_once_than_allowed(story: Story) -> None:
    """EMBEDDING_ASSETS_POLL_CONCURRENCY is reached and never passed, as OpenAI's side counts it."""
    assert story.counters[CONTENT] == {"requests": 2 * BATCHES, "in_flight": 0, "max_in_flight": AT_ONCE}
    assert RETRIEVE not in story.counters, "the list says what each batch is"


def test_more_than_four_chunks_are_merged_by_groups(story: Story) -> None:
    """Ten deltas to a chunk, ten chunks to a group: seven chunks and one group, exactly these keys."""
    execution = story.execution
    snapshots = [f"intermediate/{execution}/chunk-{number}/" for number in range(7)]
    snapshots.append(f"intermediate/{execution}-group-0/merged/")
    wanted = {f"{prefix}{name}" for prefix in snapshots for name in ("manifest.json", "records.arrow")}
    assert story.world.keys("intermediate/", "chunk_groups/") == {
        *wanted,
        f"intermediate/{execution}/snapshots.json",
        f"chunk_groups/{execution}/groups.json",
    }


def test_the_plan_of_the_merge_is_on_record(story: Story) -> None:
    """`chunks.json` has each poll result once, in order; `groups.json` each chunk's snapshot once, in order."""
    execution = story.execution
    chunks = story.world.json(f"chunks/{execution}/chunks.json")
    assert [chunk["chunk_index"] for chunk in chunks] == list(range(7))
    assert {chunk["batch_id"] for chunk in chunks} == {execution}
    assert [len(chunk["delta_results"]) for chunk in chunks] == [10, 10, 10, 10, 10, 10, 5]
    assert [result["batch_id"] for chunk in chunks for result in chunk["delta_results"]] == list(BY_BATCH)
    groups = story.world.json(f"chunk_groups/{execution}/groups.json")
    assert [[part["intermediate_key"] for part in group] for group in groups] == [
        [f"intermediate/{execution}/chunk-{number}/" for number in range(7)]
    ]


def test_the_counts_of_all_stages_balance(story: Story) -> None:
    """Rows into chunks, out of chunks, out of the group and published are the same number."""
    stored = story.world.services.store.get(f"intermediate/{story.execution}/snapshots.json")
    snapshots = IntermediateSnapshots.model_validate_json(stored)
    assert [chunk.rows_in for chunk in snapshots.chunks] == [20, 20, 20, 20, 20, 20, 10]
    assert [(group.sources, group.rows_in, group.count) for group in snapshots.groups] == [(7, 130, 130)]
    assert [part.intermediate_key for part in snapshots.intermediates] == [
        f"intermediate/{story.execution}-group-0/merged/"
    ]
    assert story.world.published().total_embeddings == 130
