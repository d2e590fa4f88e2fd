"""Who writes a version: what is mostly new is written directly where it can be, and nothing is lost either way."""

from __future__ import annotations

import errno
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chromadb.errors import InternalError

from embedding_assets.chroma import direct_changes, direct_writer
from embedding_assets.chroma.direct_graph import DirectGraph
from embedding_assets.chroma.direct_writer import DirectlyWritten, write_directly
from embedding_assets.chroma.graph_files import ELEMENTS_FILE
from embedding_assets.errors import LockError
from embedding_assets.executions import write_index
from embedding_assets.versions.manifest import VersionManifest
from embedding_assets_tests.chroma.both_writers import graph_file, header
from embedding_assets_tests.deltas import at, record, records
from embedding_assets_tests.executions.conftest import Workbench
from embedding_assets_tests.reference import Expected, reference_digest

OLD = [*records("a", 8), record("floats", 90, "t", {"f": 0.1 + 0.2, "g": 1 / 3, "big": 2**60, "yes": True})]


def assert_published(bench: Workbench, wanted: list[Expected]) -> VersionManifest:
    manifest = bench.pointer().manifest
    assert bench.published() == {one.id: one for one in wanted}
    assert manifest.content_digest == reference_digest(wanted)
    return manifest


def first(bench: Workbench, writer: Any, wanted: list[Expected] = OLD) -> None:
    """A base that this one writes."""
    bench.writer = writer
    bench.merge([bench.batch("base", wanted)], 1)
    assert bench.pointer().manifest.writer == writer
    bench.writer = "auto"


@pytest.mark.parametrize("base", ["chroma", "direct"])
def test_more_new_records_than_old_ones(bench: Workbench, base: Any) -> None:
    """The base's rows are in it, but for those that are updated, removed, or of which the metadata is new."""
    first(bench, base)
    new = [
        record("a1", 70, "newer", {"number": "text"}),
        record("a2", 2, "text 2", {"n": 1}),
        *records("b", 20, 100),
    ]
    results = [bench.batch("b1", new, at(1)), bench.deletions("b2", ["a0", "a5", "b3", "never there"], at(2))]
    result = bench.merge(results, 2)
    assert (result.added, result.updated, result.removed) == (19, 2, 2)
    assert (result.writer, result.writer_reason) == ("direct", None)
    left = [*OLD[3:5], *OLD[6:], *(one for one in new if one.id != "b3")]
    assert assert_published(bench, left).writer == "direct"


@pytest.mark.parametrize("base", ["chroma", "direct"])
def test_fewer_new_records_are_added_to_the_graph(bench: Workbench, base: Any) -> None:
    """Without Chroma, replacements and deletions too; searches are measured."""
    first(bench, base)
    bench.writer = "direct"
    new = [*records("b", 2, 100), record("a0", 300, "newer", {"number": 5})]
    results = [bench.batch("b1", new, at(1)), bench.deletions("b2", ["a1"], at(2))]
    result = bench.merge(results, 2)
    assert (result.writer, result.writer_reason) == ("direct", None)
    manifest = assert_published(bench, [*OLD[2:], *new])
    assert (manifest.writer, manifest.nodes, manifest.recall) == ("direct", len(OLD) + len(new), 1.0)


def test_changes_that_searches_do_not_find_are_made_by_chroma(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recall is measured before anything is published; the base's files are as they were."""
    first(bench, "direct")
    bench.writer = "direct"
    monkeypatch.setattr(direct_changes, "recall_of", lambda *told: 0.5)
    new = records("b", 3, 100)
    result = bench.merge([bench.batch("b1", new, at(1))], 2)
    assert result.writer == "chroma"
    assert "searches find 0.500 of the nearest records" in (result.writer_reason or "")
    assert assert_published(bench, [*OLD, *new]).writer == "chroma"


def test_a_new_metadata_key_is_written_by_chroma(bench: Workbench) -> None:
    """Its schema has to list it."""
    first(bench, "direct")
    bench.writer = "direct"
    new = [record("k", 70, "t", {"fresh": 1})]
    result = bench.merge([bench.batch("b1", new, at(1))], 2)
    assert (result.writer, result.writer_reason) == ("chroma", "a metadata key is new to Chroma, or has a list")
    assert_published(bench, [*OLD, *new])


def test_after_tombstones_the_published_count(bench: Workbench) -> None:
    """Ids that were deleted are in the index, not in the version; they come back like new ones."""
    first(bench, "direct")
    bench.merge([bench.deletions("b1", [one.id for one in OLD[:6]], at(1))], 2)
    assert assert_published(bench, OLD[6:]).writer == "direct"
    back = [record(one.id, 300, "back", None) for one in OLD[:4]]
    result = bench.merge([bench.batch("b2", back, at(2))], 3)
    assert (result.added, result.updated, result.writer) == (4, 0, "direct")
    assert_published(bench, [*OLD[6:], *back])
    bench.merge([bench.deletions("b3", [one.id for one in [*OLD[6:], *back]], at(3))], 4)
    assert assert_published(bench, []).total_embeddings == 0
    again = bench.merge([bench.batch("b4", records("c", 3), at(4))], 5)
    assert again.writer == "direct"
    assert_published(bench, records("c", 3))


def test_a_version_of_every_record_updated_is_written_directly(bench: Workbench) -> None:
    """Nothing of the old graph stays."""
    first(bench, "chroma")
    newer = [record(one.id, 500 + number, "newer", {"n": number}) for number, one in enumerate(OLD)]
    result = bench.merge([bench.batch("b1", newer, at(1))], 2)
    assert (result.updated, result.writer) == (len(OLD), "direct")
    assert_published(bench, newer)


def test_a_version_that_takes_the_bases_files_names_their_writer(bench: Workbench) -> None:
    """No record changed, nothing was written: the manifest says who wrote the files that it names."""
    first(bench, "direct")
    result = bench.merge([bench.batch("b1", OLD[:2], at(1))], 2)
    assert (result.unchanged, result.writer, result.writer_reason) == (2, "direct", None)
    assert bench.pointer().manifest.writer == "direct"


def test_chroma_alone_where_that_is_set(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """`writer="chroma"`: the direct writer is not even tried."""

    def never(*args: object) -> DirectlyWritten:
        raise AssertionError("the direct writer was called")

    monkeypatch.setattr(write_index, "write_directly", never)
    bench.writer = "chroma"
    for number, wanted in enumerate([OLD, records("b", 30, 100)], start=1):
        result = bench.merge([bench.batch(f"b{number}", wanted, at(number))], number)
        assert (result.writer, result.writer_reason) == ("chroma", None)
    assert_published(bench, [*OLD, *records("b", 30, 100)])


def falls_back(bench: Workbench, because: str) -> None:
    """A base by Chroma, then more than that: Chroma writes it, the reason is told and published."""
    first(bench, "chroma")
    new = records("b", 20, 100)
    result = bench.merge([bench.batch("b1", new, at(1))], 2)
    assert result.writer == "chroma"
    assert because in (result.writer_reason or "")
    assert f"Chroma writes this version itself: {result.writer_reason}" in bench.messages
    assert assert_published(bench, [*OLD, *new]).writer == "chroma"


def test_what_is_damaged_is_written_by_chroma(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """One bit of one vector, after it was written: nothing of it is published."""

    def damaged(directory: Path, *args: Any) -> DirectlyWritten:
        written = write_directly(directory, *args)
        path = graph_file(directory, ELEMENTS_FILE)
        data = bytearray(path.read_bytes())
        data[int(header(directory)["offsetData_"])] ^= 1
        path.write_bytes(data)
        return written

    monkeypatch.setattr(write_index, "write_directly", damaged)
    falls_back(bench, "not what was merged: 1 of 29 records read differ")


def test_a_graph_that_finds_too_little_is_written_by_chroma(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trial is part of the build, not only the comparison of the rows."""

    def otherwise(*args: Any) -> DirectlyWritten:
        written = write_directly(*args)
        return replace(written, exact=replace(written.exact, farthest=written.exact.farthest - 1))

    monkeypatch.setattr(write_index, "write_directly", otherwise)
    falls_back(bench, "self-check: searches find")


def test_a_schema_that_was_not_tried(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another Chroma."""
    monkeypatch.setattr(direct_writer, "TRIED", frozenset())
    falls_back(bench, "not tried")


def test_searches_that_find_too_little(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the links are built: then Chroma writes the version."""
    monkeypatch.setattr(direct_writer, "LEAST_RECALL", 1.1)
    monkeypatch.setattr(direct_writer, "LEAST_OF_ALL", 1.1)
    falls_back(bench, "searches find only 1.000 of the nearest records")


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("error", [FULL, MemoryError(), InternalError("database or disk is full")])
@pytest.mark.parametrize("where", ["write_vectors", "link", "write_rows"])
def test_without_room_chroma_tries(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, error: Exception, where: str
) -> None:
    """It needs less, so it may succeed; what the attempt had written is gone before."""

    def failing(*args: object) -> DirectlyWritten:
        raise error

    monkeypatch.setattr(direct_writer if where == "write_rows" else DirectGraph, where, failing)
    falls_back(bench, str(error) or "MemoryError")


def test_what_this_machine_cannot_do_is_known_before_the_base_is_read(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without faiss nobody reads every record of the base for nothing."""

    def never(*args: object) -> None:
        raise AssertionError("the base was read")

    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setattr(write_index, "published_rows", never)
    falls_back(bench, "faiss cannot be loaded")


@pytest.mark.parametrize("error", [RuntimeError("no room"), ImportError("wrong libc")])
def test_faiss_fails(bench: Workbench, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Its errors are not the merge's."""

    def failing(*args: object) -> DirectlyWritten:
        raise error

    if isinstance(error, RuntimeError):
        monkeypatch.setattr(DirectGraph, "link", failing)
    else:
        monkeypatch.setitem(sys.modules, "faiss", None)
    falls_back(bench, "faiss")


def test_lists_in_the_base_are_written_directly(bench: Workbench) -> None:
    """With all that Chroma gives back of them."""
    listed = record("listed", 60, "t", {"l": ["a", "b"], "n": [1.5]})
    first(bench, "chroma", [*OLD, listed])
    new = records("b", 30, 100)
    result = bench.merge([bench.batch("b1", new, at(1))], 2)
    assert (result.writer, result.writer_reason) == ("direct", None)
    assert_published(bench, [*OLD, listed, *new])


def test_a_graph_of_dead_nodes_is_built_anew(bench: Workbench) -> None:
    """By whoever writes: the nodes of replaced records are gone once there are more than 1.3 for each record."""
    for writer in ("auto", "chroma"):
        bench.writer = writer
        for round_ in range(4):
            at_ = at(10 * (writer == "chroma") + round_)
            changed = records("r", 6, 100 * round_ + (50 if writer == "chroma" else 0))
            bench.merge(
                [bench.batch(f"{writer}{round_}", [*changed, *OLD[6:]] if not round_ else changed, at_)], 1
            )
            manifest = bench.pointer().manifest
            assert manifest.nodes is not None
            assert manifest.nodes <= 1.3 * manifest.total_embeddings


def test_a_lost_lock_ends_the_direct_writer_too(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no reason to let Chroma write what nobody may publish."""

    def lost(directory: Path, name: str, space: Any, batches: Any, check: Any) -> DirectlyWritten:
        raise LockError("the lock is lost")

    monkeypatch.setattr(write_index, "write_directly", lost)
    with pytest.raises(LockError, match="lost"):
        bench.merge([bench.batch("b1", OLD)], 1)
    assert bench.keys("lines/snapshot/") == set()
