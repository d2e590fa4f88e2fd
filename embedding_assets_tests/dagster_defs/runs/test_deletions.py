"""Records that are taken out: a tombstone that older batches do not undo, whatever the order of ingestion."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedding_assets.chroma.collection import all_ids, open_collection
from embedding_assets.databases import LINES
from embedding_assets.versions.reader import published_index, pull
from embedding_assets_tests.dagster_defs.runs.world import World, texts
from embedding_assets_tests.deltas import at
from embedding_assets_tests.reference import reference_digest


def published_ids(world: World, tmp_path: Path) -> list[str]:
    """What a reader of the published version finds."""
    manifest = world.published()
    directory = tmp_path / manifest.version
    pull(world.services.store, manifest, directory)
    with open_collection(directory, manifest.collection) as collection:
        assert collection.count() == manifest.total_embeddings
        return sorted(all_ids(collection))


def test_records_are_taken_out_of_the_next_version(world: World, tmp_path: Path) -> None:
    """Together with what is new; the row is COMPLETED, the digest that of what is left."""
    before, new = texts("a", 4), texts("b", 2, 10)
    world.plant("before", before)
    world.ingest()
    world.plant("new", new)
    world.delete("gone", ["a1", "a3", "b1", "unknown"], submitted_at=at(9).isoformat())
    report = world.ingest()
    assert set(report.marked) == {"new", "gone"}
    manifest = world.published()
    left = [before[0], before[2], new[0]]
    assert published_ids(world, tmp_path) == ["a0", "a2", "b0"]
    assert manifest.content_digest == reference_digest(left)
    assert (manifest.added, manifest.updated, manifest.removed, manifest.unchanged) == (1, 0, 2, 2)
    account = next(batch for batch in manifest.batches if batch.batch_id == "gone")
    assert (account.deleted, account.embedded, account.failed, account.unfinished) == (4, 0, 0, 0)
    row = world.row("gone")
    assert (row["status"], row["embedded_count"], row["deletion_count"]) == ("COMPLETED", 0, 4)
    result = world.poll_results(report.executions[0])["gone"]
    assert (result["action"], result["deletion_count"], result["delta_key"]) == ("process_results", 4, None)
    assert world.ingest().executions == []


def test_deletions_alone_make_a_version(world: World, tmp_path: Path) -> None:
    """Also if nothing is left, and if nothing was ever published."""
    world.delete("early", ["a0"])
    world.ingest()
    assert (world.published().total_embeddings, published_ids(world, tmp_path)) == (0, [])
    world.plant("late", texts("a", 3), row={"submitted_at": at(-5).isoformat()})
    world.ingest()
    assert published_ids(world, tmp_path) == ["a1", "a2"]
    world.delete("rest", ["a1", "a2"], submitted_at=at(5).isoformat())
    world.ingest()
    assert (world.published().total_embeddings, published_ids(world, tmp_path)) == (0, [])
    world.plant("again", texts("a", 3, 30), row={"submitted_at": at(6).isoformat()})
    world.ingest()
    assert published_ids(world, tmp_path) == ["a0", "a1", "a2"]


def test_older_batches_do_not_undo_a_deletion(world: World, tmp_path: Path) -> None:
    """Neither when they come late nor when they are reprocessed; a later one does."""
    world.plant("first", texts("a", 2), row={"submitted_at": at(0).isoformat()})
    world.ingest()
    world.delete("gone", ["a0"], submitted_at=at(5).isoformat())
    world.ingest()
    world.plant("older", texts("a", 2, 50), row={"submitted_at": at(3).isoformat()})
    world.services.ledger.reopen(world.services.ledger.get("first"))
    assert world.ingest(until_drained=True).failures == []
    assert published_ids(world, tmp_path) == ["a1"]
    index = published_index(world.services.store, world.published())
    assert index.column("id").to_pylist() == ["a0", "a1"]
    assert index.column("batch_id").to_pylist() == ["gone", "older"]
    assert index.column("hash").to_pylist()[0] is None
    world.plant("newer", texts("a", 1, 70), row={"submitted_at": at(8).isoformat()})
    world.ingest()
    assert published_ids(world, tmp_path) == ["a0", "a1"]
    world.services.ledger.reopen(world.services.ledger.get("gone"))
    world.ingest()
    assert published_ids(world, tmp_path) == ["a0", "a1"]


def test_a_deletion_that_was_rolled_back_comes_in_again_by_reprocess(world: World, tmp_path: Path) -> None:
    """Like any other batch."""
    world.plant("first", texts("a", 2))
    world.ingest()
    before = world.published()
    world.delete("gone", ["a0"], submitted_at=at(5).isoformat())
    world.ingest()
    world.services.rollback(LINES, lambda line: None).to(before.version, "20260102T120000Z-0123abcd")
    assert world.published().withdrawn == ("gone",)
    assert world.published().content_digest == before.content_digest
    world.services.ledger.reopen(world.services.ledger.get("gone"))
    world.ingest()
    assert world.published().withdrawn == ()
    assert published_ids(world, tmp_path) == ["a1"]


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"\n",
        b'{"id": "a0"}\n',
        b"{",
        b'{"id": "", "deleted": true}',
        b'{"id": "a0", "deleted": true}\n{"id": "a1", "deleted": true}\n',
    ],
)
def test_deletions_that_cannot_be_read_delete_nothing(world: World, content: bytes | None) -> None:
    """It counts against the batch; the others go on."""
    world.plant("first", texts("a", 2))
    world.delete("gone", ["a0"])
    store = world.services.store
    store.delete(["records/gone.jsonl"])
    if content is not None:
        store.put("records/gone.jsonl", content)
    report = world.ingest()
    assert report.marked == ["first"]
    assert world.published().total_embeddings == 2
    row = world.row("gone")
    assert row["status"] == "PENDING"
    assert "gone" in row["error"]


def test_a_row_of_another_program_need_not_have_a_deletion_count(world: World, tmp_path: Path) -> None:
    """Its `openai_batch_id` says what it is; a blank line in its file, or a byte order mark, is no deletion."""
    world.plant("first", texts("a", 2))
    world.ingest()
    world.services.store.put("records/gone.jsonl", b'\xef\xbb\xbf{"id": "a0", "deleted": true}\r\n\r\n')
    world.put_row("gone", openai_batch_id="deletion")
    assert world.ingest().marked == ["gone"]
    assert published_ids(world, tmp_path) == ["a1"]
    assert world.row("gone")["status"] == "COMPLETED"
