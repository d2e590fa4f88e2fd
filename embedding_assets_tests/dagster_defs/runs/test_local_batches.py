"""Records whose text is published: no request, no money, and a batch like any other."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedding_assets.chroma.collection import open_collection, read_rows
from embedding_assets.databases import LINES
from embedding_assets.errors import DamagedVersionError
from embedding_assets.submission.submit import Submission
from embedding_assets.versions.reader import pull
from embedding_assets_tests.dagster_defs.runs.world import World

CREATE = "POST /v1/batches"

Submit = Callable[..., Submission]


@pytest.fixture
def submit(world: World, tmp_path: Path) -> Submit:
    """Submits records: id, text and perhaps metadata."""

    def act(*records: tuple[Any, ...], cached: bool = True, **options: Any) -> Submission:
        path = tmp_path / "records.jsonl"
        names = ("id", "text", "metadata")
        lines = [json.dumps(dict(zip(names, record, strict=False))) for record in records]
        path.write_text("\n".join(lines), encoding="utf-8")
        submitter = world.services.submitter(LINES, lambda line: None, **options)
        return (submitter if cached else replace(submitter, cache=None)).submit([path])

    return act


def vectors(world: World, tmp_path: Path) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float32]]]:
    """The vectors of the published version, by id."""
    manifest = world.published()
    directory = tmp_path / manifest.version
    pull(world.services.store, manifest, directory)
    with open_collection(directory, manifest.collection) as collection:
        return {one: page.vectors[number] for page in read_rows(collection) for number, one in enumerate(page.ids)}


def test_a_published_text_is_not_sent_again(world: World, submit: Submit, tmp_path: Path) -> None:
    """Other metadata, a copy under another id, a new text: one request of three records, two batches."""
    submit(("a", "milk"), ("b", "bread"))
    world.ingest(until_drained=True)
    before = vectors(world, tmp_path)
    made = world.server.requests(CREATE)
    sent = submit(("a", "milk", {"n": 1}), ("copy", "bread"), ("c", "cheese"), ("copy 2", "bread"))
    assert (sent.requests, sent.sent, sent.reused, sent.tokens) == (4, 1, 3, 2)
    assert world.server.requests(CREATE) == made + 1
    local, remote = sent.batches
    row = world.row(local)
    assert (row["openai_batch_id"], row["request_count"], row["sent_count"], row["token_count"]) == (
        "local",
        3,
        0,
        0,
    )
    report = world.ingest(until_drained=True)
    assert set(report.marked) == {local, remote}
    row = world.row(local)
    counts = (row["status"], row["embedded_count"], row["failed_count"], row["unfinished_count"])
    assert counts == ("COMPLETED", 3, 0, 0)
    after = vectors(world, tmp_path)
    assert after.keys() == {"a", "b", "c", "copy", "copy 2"}
    for record_id, source in (("a", "a"), ("copy", "b"), ("copy 2", "b")):
        assert after[record_id].tobytes() == before[source].tobytes()
    assert submit(("a", "milk", {"n": 1}), ("copy", "bread")).skipped == 2
    result = world.poll_results(report.executions[0])[local]
    assert (result["batch_status"], result["action"]) == ("completed", "process_results")


def test_what_alone_changes_its_metadata_waits_for_nobody(world: World, submit: Submit) -> None:
    """Nothing at OpenAI: the next ingest publishes it. `--all` asks OpenAI all the same, for each record."""
    submit(("a", "milk"))
    world.ingest(until_drained=True)
    made = world.server.requests(CREATE)
    [batch_id] = submit(("a", "milk", {"n": 2})).batches
    assert world.ingest().marked == [batch_id]
    assert world.server.requests(CREATE) == made
    assert submit(("a", "milk", {"n": 3}), ("b", "milk"), force=True).sent == 2


def test_a_reprocessed_local_batch_comes_in_again(world: World, submit: Submit) -> None:
    """Its answers stay in the bucket."""
    submit(("a", "milk"))
    world.ingest(until_drained=True)
    [batch_id] = submit(("b", "milk")).batches
    world.ingest()
    published = world.published()
    world.services.rollback(LINES, lambda line: None).to(str(published.parent), "20260102T120000Z-0123abcd")
    assert world.published().withdrawn == (batch_id,)
    world.services.ledger.reopen(world.services.ledger.get(batch_id))
    world.ingest()
    assert world.published().content_digest == published.content_digest


def test_only_what_is_published_now_gives_vectors(world: World, submit: Submit) -> None:
    """Not what a rollback withdrew, not another model, nor records whose text is not known."""
    submit(("a", "milk"))
    world.ingest(until_drained=True)
    first = world.published()
    submit(("b", "bread"))
    world.ingest(until_drained=True)
    world.services.rollback(LINES, lambda line: None).to(first.version, "20260102T120000Z-0123abcd")
    assert submit(("c", "bread"), dry_run=True).sent == 1
    assert submit(("c", "milk"), dry_run=True).sent == 0


def test_a_damaged_version_gives_nothing(world: World, submit: Submit) -> None:
    """One line; nothing is half-written."""
    submit(("a", "milk"))
    world.ingest(until_drained=True)
    file = next(file for file in world.published().files if file.path.endswith("data_level0.bin"))
    store = world.services.store
    store.put(file.key, store.get(file.key)[:-4] + b"\0\0\0\1")
    before = world.keys()
    assert submit(("a", "milk", {"n": 1}), dry_run=True).reused == 1
    with pytest.raises(DamagedVersionError, match="is damaged"):
        submit(("b", "milk"), cached=False)
    assert {key for key in world.keys() - before if key.startswith("records/")} == set()
    assert sum(key.startswith("BATCH#") for key in world.rows()) == 1
