"""Another model: texts submitted again, published when each record has its new vector."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from embedding_assets.bucket.keys import pointer_key
from embedding_assets.databases import LINES
from embedding_assets.errors import InputError, ServiceError
from embedding_assets.ledger.batch_summary import Status
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.rows.record_index import alive
from embedding_assets.submission.parts import EmbeddingModel, Limits
from embedding_assets.submission.submit import Submitter
from embedding_assets.upkeep.rebuild_model import ModelRebuild, RebuildProgress
from embedding_assets.versions.mark import mark_published
from embedding_assets.versions.reader import published_index
from embedding_assets_tests.dagster_defs.runs.world import World, error_line, texts
from embedding_assets_tests.deltas import DIMENSIONS, MODEL, at

LARGE = EmbeddingModel("text-embedding-3-large", 16)
PURPOSE = "20260102T120000Z-0123abcd"
WAIT_SECONDS = 30


def quiet(line: str) -> None:
    """Tell nobody."""


def rebuild(world: World, asked: EmbeddingModel = LARGE, *, dry_run: bool = False) -> ModelRebuild:
    """The rebuild of lines."""
    return world.services.model_rebuild(LINES, asked, quiet, dry_run=dry_run)


def steps(world: World) -> RebuildProgress:
    """Steps until one publishes or says that it is impossible."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        done = rebuild(world).step(PURPOSE)
        if done.version is not None or done.impossible:
            return done
        assert time.monotonic() < deadline
        time.sleep(0.1)


def submit(world: World, *records: tuple[str, str]) -> list[str]:
    """Records of ours, with their texts; the batches that were sent."""
    path = world.home / "records.jsonl"
    path.write_text(
        "".join(
            json.dumps({"id": one, "text": text, "document": f"shown {one}", "metadata": {"n": 1}}) + "\n"
            for one, text in records
        )
    )
    submitter = Submitter(world.services.sender(LINES, quiet), EmbeddingModel(MODEL, DIMENSIONS))
    return submitter.submit([path], limits=Limits(requests=2)).batches


def drained(world: World, total: int) -> None:
    """Ingest until so many records are published."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        assert world.ingest(until_drained=True).failures == []
        if total == 0 or (world.keys(pointer_key(LINES)) and world.published().total_embeddings == total):
            return
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_every_published_record_gets_a_new_vector(world: World, tmp_path: Path) -> None:
    """Ours and those of another program; documents, metadata, precedences and tombstones stay."""
    submit(world, ("a", "text a"), ("b", "text b"), ("c", "text c"))
    world.plant("theirs", texts("t", 2), row={"submitted_at": at(0).isoformat()})
    drained(world, 5)
    world.delete("gone", ["t1"], submitted_at=at(9).isoformat())
    world.ingest()
    before, old = world.published(), published_index(world.services.store, world.published())
    first = rebuild(world).step(PURPOSE, Limits(requests=3))
    assert (first.total, first.embedded, first.submitted, first.version) == (4, 0, 4, None)
    rows = [row for row in world.services.ledger.live(LINES).set_aside if row.rebuild == rebuild(world).goal]
    assert [row.request_count for row in sorted(rows, key=lambda row: -(row.request_count or 0))] == [3, 1]
    assert world.ingest().executions == []
    assert world.published() == before
    done = steps(world)
    manifest = world.published()
    assert done == RebuildProgress(4, 4, version=manifest.version)
    assert (manifest.model, manifest.dimensions, manifest.parent) == (LARGE.model, 16, before.version)
    new = published_index(world.services.store, manifest)
    for column in ("id", "precedence_at", "metadata"):
        assert new.column(column).equals(old.column(column))
    assert set(alive(new).column("batch_id").to_pylist()) == {row.batch_id for row in rows}
    assert not set(new.column("hash").drop_null().to_pylist()) & set(old.column("hash").to_pylist())
    marked = mark_published(world.services.store, world.services.ledger, LINES)
    assert {row.batch_id for row in marked} == {row.batch_id for row in rows}
    assert {row.status for row in marked} == {Status.COMPLETED}
    with pytest.raises(InputError, match="is of text-embedding-3-large with 16 dimensions already"):
        rebuild(world).step(PURPOSE)


def test_what_is_published_meanwhile_is_followed(world: World) -> None:
    """A record that changed is submitted again, one that was deleted is left out, a new one is added."""
    submit(world, ("a", "text a"), ("b", "text b"))
    drained(world, 2)
    assert rebuild(world).step(PURPOSE).submitted == 2
    submit(world, ("a", "another text"), ("c", "text c"))
    drained(world, 3)
    gone = world.home / "gone"
    gone.write_text("b\n")
    Submitter(world.services.sender(LINES, quiet), LARGE).submit([], gone)
    drained(world, 2)
    again = rebuild(world).step(PURPOSE)
    assert (again.total, again.submitted) == (2, 2)
    done = steps(world)
    assert done.total == 2
    assert alive(published_index(world.services.store, world.published())).column("id").to_pylist() == ["a", "c"]


def test_a_dry_run_submits_nothing(world: World) -> None:
    """It tells what would be."""
    submit(world, ("a", "text a"))
    drained(world, 1)
    sent = world.server.requests("POST /v1/batches")
    assert rebuild(world, dry_run=True).step(PURPOSE) == RebuildProgress(1, 0, submitted=1)
    assert world.server.requests("POST /v1/batches") == sent
    world.server.order("plans", {"plan": {"status": "failed"}, "next": 1})
    assert rebuild(world).step(PURPOSE).submitted == 1
    [row] = world.services.ledger.live(LINES).set_aside
    assert rebuild(world, dry_run=True).step(PURPOSE).version is None
    assert world.services.ledger.get(row.batch_id) == row


def test_a_crash_between_is_not_paid_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that was made and never written down is adopted, as one of the rebuild."""
    submit(world, ("a", "text a"))
    drained(world, 1)
    sent = world.server.requests("POST /v1/batches")
    real = OpenAIBatches.create_batch

    def die(self: OpenAIBatches, *arguments: object) -> None:
        real(self, *arguments)  # type: ignore[arg-type]
        raise RuntimeError("dead")

    with monkeypatch.context() as patch:
        patch.setattr(OpenAIBatches, "create_batch", die)
        with pytest.raises(RuntimeError):
            rebuild(world).step(PURPOSE)
    steps(world)
    assert world.server.requests("POST /v1/batches") == sent + 1


def test_what_the_new_model_cannot_embed_is_told(world: World) -> None:
    """Nothing is published, and nothing is tried for ever."""
    submit(world, ("a", "text a"), ("b", "text b"))
    drained(world, 2)
    before = world.published()
    fault = {"kind": "error", "custom_ids": ["b"], "status_code": 400, "code": "invalid_request"}
    world.server.order("plans", {"plan": {"requests": [fault]}, "next": 1})
    done = steps(world)
    assert done.impossible == ("b",)
    assert world.published() == before
    assert rebuild(world).step(PURPOSE).submitted == 0


def test_nothing_published_and_the_same_model(world: World) -> None:
    """There is nothing to do."""
    with pytest.raises(InputError, match="no published version"):
        rebuild(world).step(PURPOSE)
    world.plant("first", texts("a", 2), errors=error_line(texts("a", 2)[0]))
    world.ingest()
    with pytest.raises(InputError, match="already"):
        rebuild(world, EmbeddingModel(MODEL, None)).step(PURPOSE)


def test_a_batch_that_openai_does_not_show_is_not_paid_again(world: World) -> None:
    """It is on its way until it is believed gone; with the key of another project nothing is sent at all."""
    submit(world, ("a", "text a"), ("b", "text b"))
    drained(world, 2)
    assert rebuild(world).step(PURPOSE).submitted == 2
    (row,) = [row for row in world.services.ledger.live(LINES).set_aside if row.rebuild == rebuild(world).goal]
    world.server.forget_batch(row.openai_batch_id)
    sent = world.server.requests("POST /v1/batches")
    for _ in range(2):
        progress = rebuild(world).step(PURPOSE)
        assert (progress.submitted, progress.running, progress.version) == (0, 2, None)
        assert "missing_since" in world.row(row.batch_id)
    world.server.order("projects", {"key": world.environment["OPENAI_API_KEY"]})
    with pytest.raises(ServiceError, match="another project"):
        rebuild(world).step(PURPOSE)
    assert world.server.requests("POST /v1/batches") == sent
