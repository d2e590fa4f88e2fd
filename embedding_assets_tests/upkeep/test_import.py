"""Importing another Chroma index: every record as it was there, nothing paid, nothing newer touched."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pytest

from embedding_assets.databases import LINES
from embedding_assets.errors import InputError
from embedding_assets.rows.record import input_sha256
from embedding_assets.settings import Settings
from embedding_assets.submission.parts import EmbeddingModel
from embedding_assets.upkeep.import_rows import ROWS_FILE, ForeignIndex, imported_rows, write_rows
from embedding_assets.upkeep.import_snapshot import Imported, SnapshotImport
from embedding_assets.upkeep.import_source import local_copy
from embedding_assets.upkeep.inspection import problems_of
from embedding_assets.versions.reader import published_index
from embedding_assets_tests.deltas import DIMENSIONS, MODEL, at, record, records
from embedding_assets_tests.executions.conftest import Workbench
from embedding_assets_tests.executions.conftest import bench as bench
from embedding_assets_tests.foreign import foreign

Import = Callable[..., Imported]

FOREIGN = [
    record("a", 1, "first", {"page": 1, "tags": ["x", "y"]}),
    record("b", 2, "second", {"total": True, "score": 0.5}),
    record("c", 3, None, None),
    record("d", 4, "fourth"),
]


@dataclass(frozen=True)
class Importer:
    """`snapshots import` without the command line, in one process."""

    bench: Workbench
    folder: Path

    def __call__(
        self,
        source: Path | str,
        *,
        collection: str | None = None,
        as_of: datetime | None = None,
        model: str = MODEL,
        dry_run: bool = False,
    ) -> Imported:
        """Import; with `dry_run` only look."""
        number = len(list(self.folder.iterdir()))
        work = self.folder / str(number)
        work.mkdir()
        reading = ForeignIndex(local_copy(str(source), work), collection, EmbeddingModel(model, DIMENSIONS))
        digest = write_rows(reading, work / ROWS_FILE, lambda line: None)
        rows = imported_rows(reading, work / ROWS_FILE, digest, as_of)
        task = SnapshotImport(self.bench.publisher())
        return task.look(rows) if dry_run else task.run(rows)


@pytest.fixture
def importer(bench: Workbench, settings: Settings, tmp_path: Path) -> Importer:
    """Imports into the bench's database."""
    folder = tmp_path / "imports"
    folder.mkdir()
    return Importer(bench, folder)


def test_every_record_as_it_was_there(bench: Workbench, importer: Importer, tmp_path: Path) -> None:
    """Vectors bit for bit, lists in the metadata too; sound; the source untouched; the same again does nothing."""
    source = foreign(tmp_path / "source", FOREIGN)
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    assert importer(source, dry_run=True).added == 4
    assert bench.keys() == set()
    done = importer(source)
    assert (done.added, done.updated, done.unchanged) == (4, 0, 0)
    manifest = bench.pointer().manifest
    assert bench.published() == {one.id: one for one in FOREIGN}
    assert problems_of(bench.store, manifest, tmp_path / "check", everything=True) == []
    assert (manifest.model, manifest.dimensions, manifest.total_embeddings) == (MODEL, DIMENSIONS, 4)
    assert manifest.execution_id.startswith("import-")
    again = importer(source)
    assert (again.added, again.updated, again.unchanged) == (0, 0, 4)
    assert bench.pointer().manifest == manifest
    assert {path: path.read_bytes() for path in source.rglob("*") if path.is_file()} == before


def test_the_same_text_is_not_sent_again(bench: Workbench, importer: Importer, tmp_path: Path) -> None:
    """A record whose document is its text counts as submitted with the model that it was imported for."""
    importer(foreign(tmp_path / "source", FOREIGN))
    index = published_index(bench.store, bench.pointer().manifest)
    hashes = dict(zip(index.column("id").to_pylist(), index.column("input_sha256").to_pylist(), strict=True))
    assert hashes["d"] == input_sha256("fourth", "fourth", None, MODEL, DIMENSIONS)
    assert hashes["c"] is None


def test_what_was_submitted_or_deleted_stays(bench: Workbench, importer: Importer, tmp_path: Path) -> None:
    """Every submission is later than an import, unless --as-of says otherwise; a later import is newer."""
    ours = record("a", 70, "ours")
    bench.merge([bench.batch("one", [ours, record("b", 71)])], 1)
    bench.merge([bench.deletions("gone", ["b"], at(1))], 2)
    source = foreign(tmp_path / "source", FOREIGN)
    done = importer(source)
    assert (done.added, done.updated, done.unchanged) == (2, 0, 2)
    assert bench.published() == {"a": ours, "c": FOREIGN[2], "d": FOREIGN[3]}
    done = importer(source, as_of=at(2))
    assert (done.added, done.updated) == (1, 1)
    assert bench.published() == {one.id: one for one in FOREIGN}
    bench.merge([bench.batch("two", [record("c", 72, "newest")], at(3))], 3)
    assert bench.published()["c"] == record("c", 72, "newest")


def test_a_later_import_replaces_an_earlier_one(bench: Workbench, importer: Importer, tmp_path: Path) -> None:
    """Of the same id, if its content is another by then."""
    importer(foreign(tmp_path / "first", FOREIGN), as_of=at(-9))
    changed = record("a", 99, "changed")
    done = importer(foreign(tmp_path / "second", [changed, *FOREIGN[1:]]), as_of=at(-8))
    assert (done.added, done.updated, done.unchanged) == (0, 1, 3)
    assert bench.published()["a"] == changed


@pytest.mark.parametrize("form", ["folder", "archive", "s3 prefix", "s3 archive", "replaced system"])
def test_where_it_may_come_from(bench: Workbench, importer: Importer, tmp_path: Path, form: str) -> None:
    """A directory, an archive with or without a folder in it, both in S3, the replaced system's pointer."""
    directory = foreign(tmp_path / "source", FOREIGN)
    archive = tmp_path / "snapshot.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(directory, arcname="." if form == "archive" else "chroma")
    store = bench.store
    if form == "s3 prefix":
        for path in directory.rglob("*"):
            if path.is_file():
                store.upload_file(path, f"other/index/{path.relative_to(directory).as_posix()}")
    store.upload_file(archive, "other/index.tar.gz")
    store.upload_file(archive, "lines/snapshot/timestamped/20260101_000000/snapshot.tar.gz")
    store.put("lines/snapshot/latest-pointer.txt", b"lines/snapshot/timestamped/20260101_000000/\n")
    source = {
        "folder": str(directory),
        "archive": str(archive),
        "s3 prefix": store.uri("other/index"),
        "s3 archive": store.uri("other/index.tar.gz"),
        "replaced system": store.uri("lines/snapshot"),
    }[form]
    assert importer(source).added == 4
    assert set(bench.published()) == {"a", "b", "c", "d"}


def test_several_collections(importer: Importer, tmp_path: Path) -> None:
    """They are named, and one is chosen."""
    source = foreign(tmp_path / "source", FOREIGN, "one", "two")
    with pytest.raises(InputError, match=r"^it has the collections one, two: --collection chooses one$"):
        importer(source)
    with pytest.raises(InputError, match=r"^it has the collections one, two: there is no 'three'$"):
        importer(source, collection="three")
    assert importer(source, collection="two").added == 4


def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0) -> tarfile.TarInfo:
    """An entry of an archive."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, "/etc/passwd", size
    return info


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        (member("../out"), "leads out of it"),
        (member("/absolute"), "leads out of it"),
        (member("a\\b"), "leads out of it"),
        (member("link", tarfile.SYMTYPE), "a link or a device"),
        (member("hard", tarfile.LNKTYPE), "a link or a device"),
        (member("pipe", tarfile.FIFOTYPE), "a link or a device"),
        (member("device", tarfile.CHRTYPE), "a link or a device"),
        (member("bomb", size=2**60), "would become 200 times as large"),
    ],
    ids=lambda value: value.name if isinstance(value, tarfile.TarInfo) else "",
)
def test_an_archive_with_what_none_should_have(
    bench: Workbench, importer: Importer, tmp_path: Path, entry: tarfile.TarInfo, error: str
) -> None:
    """One line; nothing is written outside, nothing is published."""
    archive = tmp_path / "odd.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        declared, entry.size = entry.size, 0
        tar.addfile(entry, io.BytesIO())
        entry.size = declared
    if declared:
        header = entry.tobuf(tarfile.GNU_FORMAT)
        with tarfile.open(archive, "w:gz") as tar:
            assert tar.fileobj is not None
            tar.fileobj.write(header)
    with pytest.raises(InputError, match=error):
        importer(archive)
    assert bench.keys() == set()
    assert not (tmp_path / "imports" / "out").exists()


def test_what_is_no_index(bench: Workbench, importer: Importer, tmp_path: Path) -> None:
    """One line each, nothing is published."""
    empty = tmp_path / "empty"
    empty.mkdir()
    broken = foreign(tmp_path / "broken", FOREIGN)
    (broken / "chroma.sqlite3").write_bytes(b"no database" * 100)
    noise = tmp_path / "noise.tar.gz"
    noise.write_bytes(b"noise")
    twice = tmp_path / "twice"
    foreign(twice / "one", FOREIGN)
    foreign(twice / "two", FOREIGN)
    for source, error in (
        (tmp_path / "missing", "is not there"),
        ("s3://", "names no bucket"),
        (bench.store.uri("nothing"), "is not there"),
        (empty, "it has no chroma.sqlite3"),
        (twice, "has 2 Chroma directories"),
        (noise, "is no archive that can be read"),
        (broken, "its database cannot be read: file is not a database"),
        (foreign(tmp_path / "none", []), "has no record"),
    ):
        with pytest.raises(InputError, match=error):
            importer(source)
    assert bench.keys() == set()


def test_what_does_not_fit(bench: Workbench, importer: Importer, tmp_path: Path) -> None:
    """Other dimensions, another model: one line, and nothing changes."""
    bench.merge([bench.batch("one", records("r", 2))], 1)
    before = bench.pointer().manifest
    wide = foreign(tmp_path / "wide", [record("a", 1, dimensions=DIMENSIONS + 1)])
    with pytest.raises(InputError, match=f"have {DIMENSIONS + 1} dimensions"):
        importer(wide)
    with pytest.raises(InputError, match="are of text-embedding-ada-002"):
        importer(foreign(tmp_path / "other", FOREIGN), model="text-embedding-ada-002")
    assert bench.pointer().manifest == before
    assert LINES.name == before.database


def test_vectors_of_zeros_are_counted_and_kept(bench: Workbench, importer: Importer, tmp_path: Path) -> None:
    """They are there already and are not lost; somebody should know that searches find them for any query."""
    zero = replace(FOREIGN[0], vector=(0.0,) * DIMENSIONS)
    source = foreign(tmp_path / "source", [zero, *FOREIGN[1:]])
    lines: list[str] = []
    work = tmp_path / "work"
    work.mkdir()
    reading = ForeignIndex(source, None, EmbeddingModel(MODEL, DIMENSIONS))
    digest = write_rows(reading, work / ROWS_FILE, lines.append)
    rows = imported_rows(reading, work / ROWS_FILE, digest, None)
    assert lines == ["vectors of zeros, which searches find for any query: 1; submit the texts of these records"]
    assert SnapshotImport(bench.publisher()).run(rows).added == len(FOREIGN)
