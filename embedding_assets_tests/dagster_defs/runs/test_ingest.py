"""`ingest`, end to end: lines and words, rows of other programs, a second call, a batch that comes later."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from embedding_assets.bucket.keys import pointer_key, receipts_prefix, versions_prefix
from embedding_assets.chroma.collection import open_collection
from embedding_assets.dagster_defs.runs.ingest import IngestReport
from embedding_assets.databases import LINES, WORDS, Database
from embedding_assets.ledger.batch_summary import parse_instant
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets.versions.reader import pull
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.world import (
    EXECUTION_ID,
    SUBMITTED,
    World,
    open_world,
    texts,
)
from embedding_assets_tests.deltas import records
from embedding_assets_tests.reference import Expected, reference_digest

PLAIN = texts("plain-", 3)
KEPT = [*records("kept-", 2, seed=10), *records("Größe €/ ", 1, seed=20)]
WORD = texts("word-", 2, seed=30)
LATER = texts("later-", 2, seed=40)
STRANGE = ("a/b", "20260102T120000Z-0123abcd")

State = tuple[dict[str, str], dict[str, dict[str, Any]]]


@dataclass(frozen=True)
class Story:
    """Three calls of `ingest` and what was there after each."""

    world: World
    planted: State
    first: IngestReport
    after_first: State
    second: IngestReport
    after_second: State
    runs_after_second: int
    third: IngestReport

    def rows_after_first(self) -> dict[str, dict[str, Any]]:
        """Rows by PK."""
        return self.after_first[1]


@pytest.fixture(scope="module")
def story(
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Story]:
    """Plant, ingest, ingest again, let the last batch complete, ingest."""
    with open_world(stack, aws, openai_clients[1], tmp_path_factory.mktemp("home")) as world:
        world.plant("plain", PLAIN)
        world.plant("kept", KEPT, kept=True, row={"owner_note": "not ours", "attempt": 1})
        world.plant("word", WORD, database=WORDS)
        world.plant("later", LATER, status="in_progress", row={"status": "IN_PROGRESS"})
        for batch_id in STRANGE:
            world.put_row(batch_id)
        planted = state(world)
        first = world.ingest(LINES, WORDS)
        after_first = state(world)
        second = world.ingest(LINES, WORDS)
        after_second = state(world)
        runs = len(world.instance.get_run_ids())
        world.plant_openai("later", LATER)
        third = world.ingest(LINES, WORDS)
        yield Story(world, planted, first, after_first, second, after_second, runs, third)


def state(world: World) -> State:
    """Every object's ETag and every row."""
    return world.objects(), world.rows()


def test_the_report_names_what_was_done(story: Story) -> None:
    """One execution for each database, everything ready in it; the rest is waiting or refused, nothing failed."""
    report = story.first
    assert len(report.executions) == 2
    assert all(re.fullmatch(EXECUTION_ID, execution_id) for execution_id in report.executions)
    assert set(report.versions) == {"lines", "words"}
    assert sorted(report.marked) == ["kept", "plain", "word"]
    assert report.waiting == ["later"]
    assert set(report.refused) == set(STRANGE)
    assert (report.failed, report.set_aside, report.failures) == ([], {}, [])


@pytest.mark.parametrize(("database", "wanted"), [(LINES, [*PLAIN, *KEPT]), (WORDS, WORD)])
def test_exactly_the_delivered_records_are_published(
    story: Story, database: Database, wanted: list[Expected]
) -> None:
    """The first version has the records of its completed batches: their number and the contract's digest."""
    execution = story.first.executions[(LINES, WORDS).index(database)]
    manifest = next(
        story.world.json(key)
        for key in story.after_first[0]
        if key.startswith(f"{versions_prefix(database)}{story.first.versions[database.name]}/manifest.json")
    )
    assert manifest["total_embeddings"] == len(wanted)
    assert manifest["content_digest"] == reference_digest(wanted)
    assert manifest["execution_id"] == execution
    assert (manifest["parent"], manifest["dimensions"], manifest["space"]) == (None, 8, "l2")


def test_chroma_opens_the_version_and_has_every_record(story: Story, tmp_path: Any) -> None:
    """The published files are a Chroma directory: ids, vectors, documents and metadata as they were submitted."""
    wanted = {one.id: one for one in [*PLAIN, *KEPT, *LATER]}
    manifest = story.world.published()
    pull(story.world.services.store, manifest, tmp_path / "version")
    with open_collection(tmp_path / "version", "lines") as collection:
        found = collection.get(include=["embeddings", "documents", "metadatas"])
    assert sorted(found["ids"]) == sorted(wanted)
    assert found["embeddings"] is not None
    assert found["documents"] is not None
    assert found["metadatas"] is not None
    for position, record_id in enumerate(found["ids"]):
        one = wanted[record_id]
        assert np.asarray(found["embeddings"][position], dtype=np.float32).tolist() == list(one.vector)
        assert found["documents"][position] == one.document
        assert found["metadatas"][position] == one.metadata


@pytest.mark.parametrize(("batch_id", "count"), [("plain", 3), ("kept", 3), ("word", 2)])
def test_a_published_row_tells_where_its_embeddings_are(story: Story, batch_id: str, count: int) -> None:
    """COMPLETED in both attributes, counts, execution and version; the attributes of others survive."""
    before = story.planted[1][f"BATCH#{batch_id}"]
    row = story.rows_after_first()[f"BATCH#{batch_id}"]
    database = "words" if batch_id == "word" else "lines"
    ours = {
        "status": "COMPLETED",
        "GSI1PK": "STATUS#COMPLETED",
        "embedded_count": count,
        "failed_count": 0,
        "unfinished_count": 0,
        "retryable_count": 0,
        "request_count": count,
        "execution_id": story.first.executions[database == "words"],
        "snapshot_version": story.first.versions[database],
    }
    assert {name: row[name] for name in row.keys() - {"completed_at", "write_id"}} == {**before, **ours}
    assert parse_instant(row["completed_at"]) > parse_instant(SUBMITTED)


def test_a_refused_row_is_left_as_it_is(story: Story) -> None:
    """A row whose id is no batch id, or looks like an execution's, is reported and never touched or planned."""
    for batch_id in STRANGE:
        key = f"BATCH#{batch_id}"
        assert story.world.rows()[key] == story.planted[1][key]
        assert "batch_id" in story.first.refused[batch_id]
    assert set(story.third.refused) == set(STRANGE)


def test_exactly_the_keys_of_the_contract_are_written(story: Story) -> None:
    """Every object of an execution, beside op outputs under `dagster/`, stands under the contract's key."""
    lines, words = story.first.executions
    wanted = {"records/kept.jsonl"}
    for execution, database, batches in ((lines, LINES, ("plain", "kept")), (words, WORDS, ("word",))):
        version = story.world.json(
            f"{versions_prefix(database)}{story.first.versions[database.name]}/manifest.json"
        )
        deltas = [story.world.json(f"poll_results/{batch}/result.json")["delta_key"] for batch in batches]
        wanted |= {
            f"manifests/{execution}/batches.json",
            f"manifests/{execution}/final_snapshot.json",
            f"poll_results/{execution}/poll_results.json",
            f"chunks/{execution}/chunks.json",
            f"intermediate/{execution}/snapshots.json",
            f"intermediate/{execution}/chunk-0/manifest.json",
            f"intermediate/{execution}/chunk-0/records.arrow",
            f"{versions_prefix(database)}{version['version']}/manifest.json",
            f"{receipts_prefix(database)}{execution}/{version['inputs_digest']}.json",
            version["changes"]["key"],
            pointer_key(database),
        }
        wanted |= {f"poll_results/{batch}/{name}.json" for batch in batches for name in ("result", "batch")}
        wanted |= {f"{delta}{name}" for delta in deltas for name in ("manifest.json", "records.arrow")}
        wanted |= {file["key"] for file in version["files"]}
    assert {key for key in story.after_first[0] if not key.startswith("dagster/outputs/")} == wanted


def test_the_manifest_lists_what_was_planned(story: Story) -> None:
    """`batches.json` has exactly the ready batches, counted from 0; those in progress or refused are not in it."""
    execution = story.first.executions[0]
    manifest = story.world.json(f"manifests/{execution}/batches.json")
    assert set(manifest) == {"execution_id", "database", "created_at", "total_batches", "batches"}
    assert (manifest["execution_id"], manifest["database"], manifest["total_batches"]) == (execution, "lines", 2)
    assert manifest["batches"] == [
        {"index": 0, "batch_id": "kept", "openai_batch_id": "openai-kept"},
        {"index": 1, "batch_id": "plain", "openai_batch_id": "openai-plain"},
    ]
    parse_instant(manifest["created_at"])


def test_a_second_call_writes_nothing(story: Story) -> None:
    """With nothing ready no object, no row and no run is made, and what is published is told again."""
    assert story.after_second == story.after_first
    assert story.second.executions == []
    assert story.second.marked == []
    assert story.second.versions == story.first.versions
    assert story.second.waiting == ["later"]
    assert story.runs_after_second == 2


def test_a_batch_in_progress_is_picked_up_when_it_is_done(story: Story) -> None:
    """It waits untouched; once completed its records join those published, in a child of that version."""
    assert story.rows_after_first()["BATCH#later"] == story.planted[1]["BATCH#later"]
    report = story.third
    assert len(report.executions) == 1
    assert report.marked == ["later"]
    assert report.waiting == []
    assert report.versions["words"] == story.first.versions["words"]
    manifest = story.world.published()
    assert manifest.version == report.versions["lines"]
    assert manifest.parent == story.first.versions["lines"]
    assert manifest.content_digest == reference_digest([*PLAIN, *KEPT, *LATER])
    assert (manifest.added, manifest.updated, manifest.unchanged) == (2, 0, 0)
