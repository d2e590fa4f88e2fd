"""An execution that breaks off at any write, and is run again, ends where an undisturbed one ends."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from embedding_assets.bucket.store import Store
from embedding_assets.databases import LINES
from embedding_assets.errors import TransientError
from embedding_assets.versions.mark import mark_published
from embedding_assets_tests.deltas import at, record, records
from embedding_assets_tests.executions.conftest import Workbench
from embedding_assets_tests.reference import reference_digest


class CrashingStore(Store):
    """A bucket that takes so many more writes and deletions, and then none."""

    def __init__(self, store: Store, left: int) -> None:
        super().__init__(store.bucket, store._client, store._single_try)
        self._left = left
        self._counting = threading.Lock()
        self.crashed = False

    def _write(self) -> None:
        with self._counting:
            self._left -= 1
            self.crashed = self.crashed or self._left < 0
        if self.crashed:
            raise TransientError("the process was killed")

    def put(self, key: str, data: bytes, content_type: str = "application/json") -> None:
        self._write()
        super().put(key, data, content_type)

    def create(self, key: str, data: bytes) -> None:
        self._write()
        super().create(key, data)

    def replace(self, key: str, data: bytes, etag: str) -> None:
        self._write()
        super().replace(key, data, etag)

    def upload_file(self, path: Path, key: str) -> None:
        self._write()
        super().upload_file(path, key)

    def delete(self, keys: Iterable[str]) -> None:
        self._write()
        super().delete(keys)


@pytest.mark.usefixtures("_quick")
def test_wherever_it_breaks_off_it_ends_alike(bench: Workbench) -> None:
    """At each single write: until the commit readers see the old version whole, then the new one, marked once."""
    bench.merge([bench.batch("first", records("a", 6), at(0))], 0)
    wanted = {one.id: one for one in records("a", 6)}
    points = 0
    finished = False
    while not finished:
        number = points + 1
        before = bench.pointer()
        rows = [record("a1", 500 + number, "new", None), *records(f"new{number}-", 2, 1000 + 10 * number)]
        results = [bench.batch(f"b{number}", rows, at(number))]
        wanted |= {one.id: one for one in rows}
        digest = reference_digest(wanted.values())
        crashing = CrashingStore(bench.store, points)
        try:
            Workbench(crashing, bench.ledger, bench.folder).merge(results, number)
            finished = not crashing.crashed
        except TransientError:
            assert crashing.crashed
        broke_off = bench.pointer()
        assert broke_off == before or broke_off.manifest.content_digest == digest
        result = bench.merge(results, number)
        assert result.content_digest == digest
        assert (result.added, result.updated, result.total_embeddings) == (2, 1, len(wanted))
        assert bench.pointer().manifest.version == result.snapshot_version
        assert bench.pointer().manifest.parent == before.manifest.version
        marked = [row.batch_id for row in mark_published(bench.store, bench.ledger, LINES)]
        assert marked == [*(["first"] if number == 1 else []), f"b{number}"]
        points += 1
    assert points >= 6
    assert bench.published() == wanted


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedding_assets.versions.publish.TRIES", 1)
