"""Merges, rollbacks and gc with a shared root: it saves downloads, shows what is published, decides nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from embedding_assets.bucket.store import Store
from embedding_assets.chroma.collection import open_collection
from embedding_assets.databases import LINES, Database
from embedding_assets.rows.snapshot_directory import MANIFEST, file_sha256
from embedding_assets.upkeep.gc import Collector, Garbage
from embedding_assets.versions.manifest import VersionManifest, chain
from embedding_assets.versions.mark import mark_published
from embedding_assets_tests.deltas import at, record, records, vector
from embedding_assets_tests.executions.conftest import execution
from embedding_assets_tests.reference import reference_digest
from embedding_assets_tests.shared_root.conftest import SharedBench, wrong_in

FIRST = records("a", 6)
SECOND = [record("a0", 77), *records("b", 3, 10)]
BOTH = [*FIRST[1:], *SECOND]


def first_merge(bench: SharedBench) -> VersionManifest:
    """The version that the others are built on."""
    bench.merge([bench.batch("first", FIRST, at(0))], 1)
    bench.data_downloaded()
    return bench.pointer().manifest


def second_merge(bench: SharedBench) -> list[str]:
    """Build on it; the keys of versions' files that were downloaded. What is published is right."""
    bench.merge([bench.batch("second", SECOND, at(1))], 2)
    downloaded = bench.data_downloaded()
    assert bench.pointer().manifest.content_digest == reference_digest(BOTH)
    assert reference_digest(bench.published().values()) == reference_digest(BOTH)
    assert bench.shown == bench.pointer().manifest.version
    assert wrong_in(bench.shared.directory(bench.shown)) == []
    return downloaded


def contents(directory: Path) -> dict[str, str]:
    """Every file below a directory, hashed."""
    return {
        path.relative_to(directory).as_posix(): file_sha256(path)
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_a_merge_lays_and_shows_its_version(bench: SharedBench) -> None:
    """From the files that it built, without a download; the directory is what the manifest says, and no more."""
    manifest = first_merge(bench)
    directory = bench.shared.directory(manifest.version)
    assert contents(directory).keys() == {file.path for file in manifest.files} | {MANIFEST}
    assert wrong_in(directory) == []
    assert VersionManifest.model_validate_json((directory / MANIFEST).read_bytes()) == manifest
    assert (bench.root / "lines/snapshot/latest").readlink() == Path("versions") / manifest.version
    with open_collection(bench.root / "lines/snapshot/latest", "lines") as collection:
        assert set(collection.get()["ids"]) == {one.id for one in FIRST}


def test_the_base_is_taken_from_the_root(bench: SharedBench) -> None:
    """Every hash matches: not one data file is downloaded; and it is told how many bytes came from where."""
    base = first_merge(bench)
    bench.messages.clear()
    assert second_merge(bench) == []
    index = next(file.size for file in base.files if file.path == "records.arrow")
    rest = base.size - index
    told = [line for line in bench.messages if "of the base" in line]
    assert told == [
        f"record index of the base: {index:,} bytes were at hand, 0 came from S3",
        f"files of the base: {rest:,} bytes were at hand, 0 came from S3",
    ]


def flip(path: Path) -> None:
    """One bit, at the same size."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def grow(path: Path) -> None:
    """One byte more."""
    with path.open("ab") as stream:
        stream.write(b"x")


@pytest.mark.parametrize("change", [flip, grow, Path.unlink])
@pytest.mark.parametrize("name", ["chroma.sqlite3", "data_level0.bin", "records.arrow"])
def test_only_the_changed_file_is_downloaded(
    bench: SharedBench, name: str, change: Callable[[Path], None]
) -> None:
    """Changed, of another size, or gone: that one comes from S3, the others do not, and the result is right."""
    base = first_merge(bench)
    file = next(file for file in base.files if file.path.endswith(name))
    directory = bench.shared.directory(base.version)
    change(directory / file.path)
    left = contents(directory)
    assert second_merge(bench) == [file.key]
    assert contents(directory) == left


def test_a_reader_that_opened_the_version_does_no_damage(bench: SharedBench) -> None:
    """Chroma changes what it opens, also if one only asks: the next merge neither takes nor mends that."""
    base = first_merge(bench)
    directory = bench.shared.directory(base.version)
    with open_collection(directory, "lines") as collection:
        collection.query(query_embeddings=list(vector(3)), n_results=2)
        collection.add(ids=["the reader's"], embeddings=list(vector(5)))
    wrong, left = wrong_in(directory), contents(directory)
    assert wrong
    assert second_merge(bench) == [file.key for file in base.files if file.path in wrong]
    assert contents(directory) == left
    assert "the reader's" not in bench.published()


def test_a_merge_without_a_change_lays_a_whole_version_too(bench: SharedBench) -> None:
    """Its manifest names the parent's files: they come from where the parent is laid."""
    first_merge(bench)
    bench.merge([bench.batch("same", FIRST[:2], at(-1))], 2)
    assert bench.data_downloaded() == []
    manifest = bench.pointer().manifest
    assert (manifest.added, manifest.updated) == (0, 0)
    assert bench.shown == manifest.version
    assert wrong_in(bench.shared.directory(manifest.version)) == []


def test_without_a_laid_base_all_of_it_is_downloaded(bench: SharedBench) -> None:
    """Somebody emptied the root: S3 has everything."""
    base = first_merge(bench)
    bench.shared.link.folder.rename(bench.folder / "away")
    assert sorted(second_merge(bench)) == sorted(file.key for file in base.files)


def test_a_rollback_moves_the_link(bench: SharedBench) -> None:
    """It is a version like others, of a greater epoch; its files come from where the older one is laid."""
    first = first_merge(bench)
    second_merge(bench)
    second = bench.shown
    made = bench.roll_back(first.version)
    assert bench.shown == made.version
    assert wrong_in(bench.shared.directory(made.version)) == []
    assert bench.messages[-1].endswith(f"{made.size:,} bytes were at hand, 0 came from S3")
    forward = bench.roll_back(second)
    assert bench.shown == forward.version == bench.pointer().manifest.version


@pytest.mark.parametrize("publish", ["merge", "rollback"])
def test_what_cannot_be_laid_is_published_all_the_same(
    bench: SharedBench, publish: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 is the commit point: a warning, the version before stays shown, and marking goes on."""
    first = first_merge(bench)
    second_merge(bench)
    shown = bench.shown

    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(13, "refused by the test")

    monkeypatch.setattr(os, "rename", refuse)
    if publish == "merge":
        assert bench.merge([bench.batch("third", records("c", 2, 20), at(2))], 3).added == 2
    else:
        assert bench.roll_back(first.version).rolled_back_to == first.version
    published = bench.pointer().manifest
    assert bench.shown == shown != published.version
    assert bench.messages[-1].startswith(f"warning: version {published.version} of lines is published, but")
    assert "refused by the test" in bench.messages[-1]
    mark_published(bench.store, bench.ledger, LINES)
    monkeypatch.undo()
    bench.shared.ensure(published, bench.messages.append)
    assert bench.shown == published.version
    assert wrong_in(bench.shared.directory(published.version)) == []


def collect(
    bench: SharedBench, *, retention: int = 1, age: timedelta = timedelta(hours=1), dry_run: bool = False
) -> Garbage:
    """A gc for which all in the bucket is young."""
    return Collector(bench.publisher(), retention, age).collect(execution(90), dry_run=dry_run)


def laid_long_ago(bench: SharedBench, *versions: str) -> None:
    """So that a gc finds them old."""
    for version in versions:
        os.utime(bench.shared.directory(version), (time.time() - 7200,) * 2)


@pytest.fixture
def three(bench: SharedBench) -> list[str]:
    """Three laid versions, by epoch."""
    first_merge(bench)
    second_merge(bench)
    bench.merge([bench.batch("third", records("c", 2, 20), at(2))], 3)
    return bench.shared.laid()


def backdated(bench: SharedBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the gc the chain is a day old, so that no version was current a moment ago."""

    def dated(
        store: Store, database: Database, newest: VersionManifest, report: Callable[[str], None]
    ) -> list[VersionManifest]:
        old = {"created_at": "2026-01-02T12:00:00Z"}
        return [one.model_copy(update=old) for one in chain(store, database, newest)]

    monkeypatch.setattr("embedding_assets.upkeep.gc.whole_chain", dated)


def test_gc_takes_old_versions_from_the_root(
    bench: SharedBench, three: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those not kept whose directory is old, whole; a dry run tells the same and deletes nothing."""
    backdated(bench, monkeypatch)
    laid_long_ago(bench, three[0], three[2])
    size = sum(path.stat().st_size for path in bench.shared.directory(three[0]).rglob("*") if path.is_file())
    planned = collect(bench, dry_run=True)
    assert bench.shared.laid() == three
    swept = collect(bench)
    assert planned.shared == swept.shared
    assert [(one.owner, one.size) for one in swept.shared] == [(three[0], size)]
    assert {entry.key for entry in swept.shared[0].objects} >= {
        f"lines/snapshot/versions/{three[0]}/{MANIFEST}",
        f"lines/snapshot/versions/{three[0]}/chroma.sqlite3",
    }
    assert bench.shared.laid() == three[1:]
    assert bench.shown == three[2]
    assert not [path for path in bench.shared.versions.iterdir() if path.name.startswith(".")]


def test_gc_keeps_what_the_link_shows(
    bench: SharedBench, three: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if it is not the published one, for its successor could not be laid yet."""
    backdated(bench, monkeypatch)
    bench.shared.link.folder.joinpath("latest").unlink()
    bench.shared.link.move(three[0])
    laid_long_ago(bench, *three)
    assert [one.owner for one in collect(bench).shared] == [three[1]]
    assert bench.shared.laid() == [three[0], three[2]]
    assert not bench.shared.remove(three[0])


def test_gc_keeps_what_it_keeps_in_the_bucket(bench: SharedBench, three: list[str]) -> None:
    """Retained, and those that were current a moment ago."""
    laid_long_ago(bench, *three)
    assert collect(bench, retention=3).shared == ()
    assert collect(bench, retention=1).shared == ()
    assert bench.shared.laid() == three


def test_gc_goes_on_where_the_root_does_not(
    bench: SharedBench, three: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A laid version that cannot be removed is told; what goes from the bucket goes."""
    backdated(bench, monkeypatch)
    laid_long_ago(bench, three[0])

    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(13, "refused by the test")

    monkeypatch.setattr(os, "rename", refuse)
    garbage = collect(bench)
    assert [one.owner for one in garbage.shared] == [three[0]]
    assert bench.messages[-1].startswith(f"warning: version {three[0]} stays on the shared root: ")
    assert bench.shared.laid() == three
