"""What is measured still runs, in a folder that stands for the bucket."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import incremental
from benchmarks.folder_s3 import FolderS3
from benchmarks.merging import ours
from benchmarks.merging.deltas import BUCKET, put_deltas
from benchmarks.records import make_records
from embedding_assets.bucket.store import Store


def test_two_merges(tmp_path: Path) -> None:
    """As `make bench` does them, with few records."""
    client = FolderS3(tmp_path / "bucket")
    store = Store(BUCKET, client, client)  # type: ignore[arg-type]  # the calls that it makes are there
    first = put_deltas(store, make_records(60, 16), 3, "arrow")
    merged = ours.merge(store, first, None, tmp_path / "first", "auto")
    base = ours.publish(store, merged, 1, first)
    assert (base.total_embeddings, merged.built.written.writer) == (60, "direct")
    more = put_deltas(store, make_records(10, 16, first=60), 2, "arrow", first=10)
    again = ours.merge(store, more, base, tmp_path / "more", "auto")
    assert (again.changes.added, again.built.written.writer) == (10, "chroma")


@pytest.mark.parametrize("split", [False, True])
def test_additions(monkeypatch: pytest.MonkeyPatch, *, split: bool) -> None:
    """With the base at hand, without it, by Chroma, and the copy that they are compared with."""
    monkeypatch.setattr(incremental, "ADDED", 20)
    found = incremental.incremental(60, 16, 1, split=split)
    assert found["cold"]["mb_down"] >= found["base_mb"]
    assert found["cached"]["mb_up"] > 0
