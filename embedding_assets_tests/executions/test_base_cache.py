"""The local cache of the base: used where it is right, and never in the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from embedding_assets.databases import LINES
from embedding_assets.errors import DamagedVersionError
from embedding_assets.executions.final import FinalMerger
from embedding_assets.settings import Settings
from embedding_assets.upkeep.inspection import problems_of
from embedding_assets.versions.base_cache import BaseCache
from embedding_assets_tests.deltas import at, records
from embedding_assets_tests.executions.conftest import Workbench
from embedding_assets_tests.recording_store import RecordingStore


class CachedBench:
    """A workbench whose merger keeps what it built."""

    def __init__(self, bench: Workbench, root: Path) -> None:
        self.bench = bench
        self.store = RecordingStore(bench.store)
        self.cache = BaseCache(root, bench.store.bucket, LINES)

    def merge(self, batch_id: str, count: int, number: int) -> list[str]:
        """Merge new records; the keys of the version before that were read."""
        results = [self.bench.batch(batch_id, records(batch_id, count, seed=100 * number), at(number))]
        snapshots = self.bench.intermediates(results, number)
        self.store.read.clear()
        self.merger().merge(results, snapshots)
        return [key for key in self.store.read if "/versions/" in key and not key.endswith("/manifest.json")]

    def merger(self) -> FinalMerger:
        """The final merge, with the cache."""
        return FinalMerger(self.bench.publisher(self.store), cache=self.cache)

    def kept(self) -> list[str]:
        """The versions in the cache."""
        return sorted(path.name for path in self.cache.directory("x").parent.iterdir())


@pytest.fixture
def cached(bench: Workbench, tmp_path: Path) -> CachedBench:
    return CachedBench(bench, tmp_path / "cache")


def test_a_version_that_was_built_here_is_not_downloaded(cached: CachedBench) -> None:
    """The second merge builds on the files of the first; the cache holds the newest version alone."""
    cached.merge("a", 9, 1)
    assert cached.merge("b", 2, 2) == []
    assert cached.kept() == [cached.bench.pointer().manifest.version]
    assert len(cached.bench.published()) == 11


def test_a_version_of_a_new_index_alone_keeps_the_other_files(cached: CachedBench) -> None:
    """Its files are those of the version before: they are not downloaded for the next one either."""
    cached.merge("a", 9, 1)
    same = [cached.bench.batch("b", records("a", 9, seed=100), at(5))]
    snapshots = cached.bench.intermediates(same, 2)
    merger = cached.merger()
    assert merger.merge(same, snapshots).unchanged == 9
    assert cached.kept() == [cached.bench.pointer().manifest.version]
    assert cached.merge("c", 2, 3) == []
    assert len(cached.bench.published()) == 11


@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_a_file_that_is_not_right_comes_from_the_bucket(cached: CachedBench, harm: str) -> None:
    """Whatever happened to the cache: only its sha256 makes a file one of the version's."""
    cached.merge("a", 9, 1)
    version = cached.bench.pointer().manifest.version
    path = next(cached.cache.directory(version).rglob("data_level0.bin"))
    data = path.read_bytes()
    if harm == "remove":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if harm == "cut" else bytes([data[0] ^ 1]) + data[1:])
    assert [key.rsplit("/", 1)[-1] for key in cached.merge("b", 2, 2)] == ["data_level0.bin"]
    assert len(cached.bench.published()) == 11


@pytest.mark.parametrize("harm", ["cut", "remove"])
def test_a_file_that_the_bucket_has_lost_is_uploaded_again(cached: CachedBench, tmp_path: Path, harm: str) -> None:
    """Only metadata is new, so the graph's files stay: from here, for nobody could open the version else."""
    cached.merge("a", 9, 1)
    lost = next(file for file in cached.bench.pointer().manifest.files if file.path.endswith("data_level0.bin"))
    if harm == "cut":
        cached.bench.store.put(lost.key, b"cut")
    else:
        cached.bench.store.delete([lost.key])
    newer = [replace(one, metadata={"n": 1}) for one in records("a", 1, seed=100)]
    results = [cached.bench.batch("b", newer, at(5))]
    merger = cached.merger()
    assert merger.merge(results, cached.bench.intermediates(results, 2)).updated == 1
    manifest = cached.bench.pointer().manifest
    assert lost.key not in {file.key for file in manifest.files}
    assert problems_of(cached.bench.store, manifest, tmp_path / "checked", everything=True) == []


def test_a_version_of_a_lost_file_is_not_published_again(cached: CachedBench) -> None:
    """Nothing is new but the index, so the file is not here either: that is told, and no batch is marked."""
    cached.merge("a", 9, 1)
    lost = next(file for file in cached.bench.pointer().manifest.files if file.path.endswith("data_level0.bin"))
    cached.bench.store.delete([lost.key])
    same = [cached.bench.batch("b", records("a", 9, seed=100), at(5))]
    snapshots = cached.bench.intermediates(same, 2)
    merger = cached.merger()
    with pytest.raises(DamagedVersionError, match="data_level0"):
        merger.merge(same, snapshots)


def test_a_cache_that_cannot_be_written_is_done_without(bench: Workbench, tmp_path: Path) -> None:
    """A file stands where the folder should be: the version is published all the same."""
    (tmp_path / "cache").write_text("in the way")
    cached = CachedBench(bench, tmp_path / "cache")
    cached.merge("a", 9, 1)
    assert cached.merge("b", 2, 2) != []
    assert sum("is not kept on the local disk" in line for line in bench.messages) == 2
    assert len(bench.published()) == 11


def test_where_it_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In DAGSTER_HOME, where it is told, or nowhere."""
    told: dict[str, Any] = {"DYNAMODB_TABLE_NAME": "t", "CHROMADB_BUCKET": "b"}
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    assert Settings(**told).base_cache is None
    assert Settings(**told, cache_dir=tmp_path).base_cache == tmp_path
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    assert Settings(**told).base_cache == tmp_path / "published_versions"
    assert Settings(**told, cache_dir="off").base_cache is None
