"""One execution as Dagster sees it: what each asset tells of itself, and the same execution once more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg
import httpx
import openai
import pytest

from embedding_assets.dagster_defs.runs.ingest import IngestReport
from embedding_assets.databases import LINES
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.world import (
    PREFIXES,
    World,
    error_line,
    open_world,
    texts,
)
from embedding_assets_tests.reference import reference_digest

FULL = texts("full-", 3)
PARTLY = texts("partly-", 3, seed=10)
NEWER = texts("newer-", 2, seed=20)


@dataclass(frozen=True)
class Story:
    """Two executions, and the first one's partition materialized once more."""

    world: World
    report: IngestReport
    before: dict[str, str]
    rows_before: dict[str, Any]
    statuses_told: dict[str | None, Any]
    again: dg.ExecuteInProcessResult

    @property
    def execution(self) -> str:
        """The first execution."""
        return self.report.executions[0]

    def first(self, asset: str, partition: str) -> dg.AssetMaterialization:
        """The first materialization of a partition."""
        events = self.world.materializations(LINES, asset)
        return next(event for event in events if event.partition == partition)


@pytest.fixture(scope="module")
def story(
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Story]:
    """Ingest two batches, then a third, then run the first execution's partition by hand."""
    with open_world(stack, aws, openai_clients[1], tmp_path_factory.mktemp("home")) as world:
        world.plant("full", FULL)
        errors = "\n".join([error_line(PARTLY[1]), error_line(PARTLY[2], code="batch_expired", status=None)])
        world.plant("partly", PARTLY, status="expired", answered=PARTLY[:1], errors=errors)
        world.plant("nothing", FULL, status="failed", answered=[])
        report = world.ingest()
        world.plant("newer", NEWER)
        world.ingest()
        before, rows_before = world.objects(), world.rows()
        told = {event.partition: values(event)["status"] for event in world.materializations(LINES, "batches")}
        told |= {event.partition: values(event)["status"] for event in world.marks()}
        again = world.defs.resolve_job_def("ingest_lines").execute_in_process(
            partition_key=report.executions[0], instance=world.instance
        )
        yield Story(world, report, before, rows_before, told, again)


def values(event: dg.AssetMaterialization | dg.AssetObservation) -> dict[str, Any]:
    """Its metadata as plain values."""
    return {name: value.value for name, value in event.metadata.items()}


def location(story: Story, key: str) -> str:
    """The address of an object of the bucket."""
    return f"s3://{story.world.bucket}/{key}"


@pytest.mark.parametrize(
    ("asset", "counts", "key"),
    [
        (
            "execution_poll_results",
            {
                "batches": 3,
                "with_embeddings": 2,
                "waiting": 0,
                "without_embeddings": 1,
                "errors": 0,
                "embedded": 4,
                "failed": 1,
                "unfinished": 4,
            },
            "poll_results/{execution}/poll_results.json",
        ),
        ("chunks", {"chunks": 1, "deltas": 2, "embedded": 4}, "chunks/{execution}/chunks.json"),
        (
            "intermediate_snapshots",
            {"chunks": 1, "groups": 0, "rows_in": 4, "rows_out": 4, "reused": 0},
            "intermediate/{execution}/snapshots.json",
        ),
        (
            "final_snapshot",
            {"total_embeddings": 4, "added": 4, "updated": 0, "unchanged": 0},
            "manifests/{execution}/final_snapshot.json",
        ),
    ],
)
def test_an_execution_tells_counts_and_where_its_value_is(
    story: Story, asset: str, counts: dict[str, int], key: str
) -> None:
    """Each of the four assets of an execution has its counts and the key of its value as metadata."""
    told = values(story.first(asset, story.execution))
    assert {name: told[name] for name in counts} == counts
    assert told["s3_location"] == location(story, key.format(execution=story.execution))


def test_the_final_snapshot_tells_the_merge_result(story: Story) -> None:
    """The contract's names, on the materialization: version, counts, batches, and where the pointer is."""
    told = values(story.first("final_snapshot", story.execution))
    assert told["execution_id"] == story.execution
    assert told["snapshot_key"] == "lines/snapshot/latest/"
    assert told["snapshot_version"] == story.report.versions["lines"]
    assert sorted(told["batches"]) == ["full", "partly"]
    assert told["content_digest"] == reference_digest([*FULL, *PARTLY[:1]])
    assert told["pointer"] == location(story, "lines/snapshot/latest/manifest.json")


@pytest.mark.parametrize(
    ("batch_id", "counts"), [("full", (3, 0, 0)), ("partly", (1, 1, 1)), ("nothing", (0, 0, 3))]
)
def test_every_batch_is_a_partition_that_tells_its_counts(
    story: Story, batch_id: str, counts: tuple[int, int, int]
) -> None:
    """Though one run polled them all, each has its own materialization of `poll_results` and of `batches`."""
    polled = values(story.first("poll_results", batch_id))
    assert (polled["embedded"], polled["failed"], polled["unfinished"]) == counts
    assert polled["s3_location"] == location(story, f"poll_results/{batch_id}/result.json")
    result = story.world.json(f"poll_results/{batch_id}/result.json")
    assert polled.get("delta") == (location(story, result["delta_key"]) if counts[0] else None)
    errors = location(story, f"poll_results/{batch_id}/errors.jsonl") if counts[1] + counts[2] else None
    assert polled.get("errors") == errors
    row = values(story.first("batches", batch_id))
    assert row["openai_batch_id"] == f"openai-{batch_id}"
    assert row["s3_location"] == location(story, f"poll_results/{batch_id}/batch.json")


@pytest.mark.parametrize(
    ("asset", "name"),
    [
        ("poll_results", "duration_seconds"),
        ("execution_poll_results", "duration_seconds"),
        ("intermediate_snapshots", "duration_seconds"),
        ("final_snapshot", "processing_time_seconds"),
    ],
)
def test_what_takes_time_tells_how_long(story: Story, asset: str, name: str) -> None:
    """Polling and merging say how many seconds they took."""
    told = values(story.first(asset, "full" if asset == "poll_results" else story.execution))
    assert 0 < told[name] < 60


def test_the_problems_of_an_execution_are_told_in_words(story: Story) -> None:
    """Which batch delivered nothing, and why, stands on the execution itself."""
    told = values(story.first("execution_poll_results", story.execution))
    assert told["problems"].startswith("- `nothing`: ")


def test_marking_is_told_too(story: Story) -> None:
    """The last materialization of each batch has the status that its row ended with."""
    assert story.statuses_told == {
        "full": "COMPLETED",
        "partly": "EXPIRED",
        "nothing": "FAILED",
        "newer": "COMPLETED",
    }


def test_the_same_execution_again_commits_nothing(story: Story) -> None:
    """It finds the version that it published, though a newer one stands; no object of it, no row changes."""
    assert story.again.success
    result = story.again.output_for_node("lines__final_snapshot")
    assert result.snapshot_version == story.report.versions["lines"]
    assert result.total_embeddings == 4
    after = story.world.objects()
    lines = {key: etag for key, etag in after.items() if key.startswith(("lines/", "records/"))}
    assert lines == {key: etag for key, etag in story.before.items() if key.startswith(("lines/", "records/"))}
    assert {item for item in after.items() if item[0].startswith("intermediate/")} >= {
        item for item in story.before.items() if item[0].startswith("intermediate/") and "/chunk-" in item[0]
    }
    rows = story.world.rows()
    assert {name: row for name, row in rows.items() if name.startswith("BATCH#")} == {
        name: row for name, row in story.rows_before.items() if name.startswith("BATCH#")
    }
    assert story.world.ingest().marked == []


def test_chunks_that_are_there_are_not_merged_again(story: Story) -> None:
    """The second time the chunk is found complete, for the same sources."""
    events = [
        event
        for event in story.world.materializations(LINES, "intermediate_snapshots")
        if event.partition == story.execution
    ]
    assert [values(event)["reused"] for event in events] == [0, 1]


def test_nothing_is_pickled_and_no_other_prefix_is_used(story: Story) -> None:
    """Steps in one process pass values of assets alone; every key is under a prefix of the contract."""
    keys = story.world.keys("")
    assert {key.split("/")[0] for key in keys} <= PREFIXES - {"dagster"} | {"lines"}
