"""`EMBEDDING_ASSETS_VERSION_LAYOUT=split`: vectors in segments that stay; readers get the same version."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedding_assets.chroma.graph_files import ELEMENTS_FILE
from embedding_assets.databases import LINES
from embedding_assets.errors import DamagedError, DamagedVersionError
from embedding_assets.executions.final import FinalMerger
from embedding_assets.executions.write_index import IndexPolicy
from embedding_assets.upkeep.inspection import missing_files, problems_of
from embedding_assets.versions import split_files
from embedding_assets.versions.manifest import VersionManifest, read_version
from embedding_assets.versions.reader import pull
from embedding_assets.versions.version_files import SplitRows
from embedding_assets_tests.deltas import DIMENSIONS, at, records
from embedding_assets_tests.executions.conftest import Workbench

ROWS_A_SEGMENT = 4
FIRST = records("a", 10)
MORE = records("b", 3, 100)


@pytest.fixture(autouse=True)
def _small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split_files, "SEGMENT_BYTES", ROWS_A_SEGMENT * DIMENSIONS * 4)


def merge(bench: Workbench, number: int, wanted: list[object], *, split: bool = True) -> VersionManifest:
    """One execution of one batch; the published version."""
    result = bench.batch(f"b{number}", wanted, at(number))  # type: ignore[arg-type]
    policy = IndexPolicy("auto", split=split)
    FinalMerger(bench.publisher(), policy).merge([result], bench.intermediates([result], number))
    return bench.pointer().manifest


def parts(manifest: VersionManifest) -> SplitRows:
    """How the graph's file is kept."""
    (found,) = [file.split for file in manifest.files if file.path.endswith(ELEMENTS_FILE) and file.split]
    return found


def test_only_new_segments_are_written(bench: Workbench, tmp_path: Path) -> None:
    """Those that are full stay where they are; the file that is put together is the one of the manifest."""
    first = merge(bench, 1, [*FIRST])
    second = merge(bench, 2, [*MORE])
    old, new = parts(first).vectors, parts(second).vectors
    assert [part.size // (4 * DIMENSIONS) for part in old] == [ROWS_A_SEGMENT, ROWS_A_SEGMENT, 2]
    assert new[:2] == old[:2]
    assert {part.key for part in new[2:]}.isdisjoint(part.key for part in old)
    assert problems_of(bench.store, second, tmp_path, everything=True) == []
    assert list(missing_files(bench.store, LINES, second)) == []
    pull(bench.store, second, tmp_path / "pulled")
    assert read_version(bench.store, LINES, second.version) == second
    split_file = next(file for file in second.model_dump(mode="json")["files"] if "split" in file)
    assert set(split_file) == {"path", "key", "size", "sha256", "split"}


def test_back_to_whole(bench: Workbench, tmp_path: Path) -> None:
    """What was kept in parts is the base of a version of whole files."""
    merge(bench, 1, [*FIRST])
    third = merge(bench, 2, [*MORE], split=False)
    assert all(file.split is None for file in third.files)
    assert problems_of(bench.store, third, tmp_path, everything=True) == []
    assert third.total_embeddings == len(FIRST) + len(MORE)


def test_a_damaged_segment_is_noticed(bench: Workbench, tmp_path: Path) -> None:
    """By whoever reads, and by the next merge, before anything is published."""
    first = merge(bench, 1, [*FIRST])
    segment = parts(first).vectors[1]
    bench.store.put(segment.key, bytes(segment.size))
    with pytest.raises(DamagedError, match=r"vectors-1 is not what its manifest says"):
        pull(bench.store, first, tmp_path / "pulled")
    (problem,) = problems_of(bench.store, first, tmp_path / "looked", everything=True)
    assert "vectors-1" in problem
    with pytest.raises(DamagedVersionError):
        merge(bench, 2, [*MORE])
    bench.store.delete([segment.key])
    (missing,) = missing_files(bench.store, LINES, first)
    assert missing.endswith("vectors-1 is missing")
    assert bench.pointer().manifest == first
