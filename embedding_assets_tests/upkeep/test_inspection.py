"""The full check of a version: every kind of damage is found, and told by the file that has it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

from embedding_assets.bucket.keys import versions_prefix
from embedding_assets.bucket.store import Store
from embedding_assets.databases import LINES
from embedding_assets.rows.record_index import digest_of, read_index, write_index
from embedding_assets.rows.snapshot_directory import MANIFEST, file_sha256
from embedding_assets.upkeep.inspection import manifest_problems, problems_of
from embedding_assets.versions.manifest import INDEX_FILE, VersionManifest, read_pointer
from embedding_assets.versions.version_files import VersionFile

SQLITE = "chroma.sqlite3"

Damage = Callable[[Path], None]


@pytest.fixture
def version(whole_bucket: Store) -> VersionManifest:
    """The published one of four: seven records, files of its own and of the one before."""
    pointer = read_pointer(whole_bucket, LINES)
    assert pointer is not None
    return pointer.manifest


def problems(bucket: Store, manifest: VersionManifest, folder: Path, *, everything: bool = True) -> list[str]:
    directory = folder / "checked"
    directory.mkdir()
    return problems_of(bucket, manifest, directory, everything=everything)


def named(manifest: VersionManifest, path: str) -> VersionFile:
    return next(file for file in manifest.files if file.path.endswith(path))


def rewritten(
    bucket: Store, manifest: VersionManifest, folder: Path, path: str, damage: Damage
) -> VersionManifest:
    """The manifest of a version one of whose files was damaged before its hash was taken."""
    file, local = named(manifest, path), folder / "damaged"
    bucket.download_file(file.key, local)
    damage(local)
    bucket.upload_file(local, file.key)
    told = file.model_copy(update={"size": local.stat().st_size, "sha256": file_sha256(local)})
    files = tuple(told if one is file else one for one in manifest.files)
    return manifest.model_copy(update={"files": files})


@pytest.mark.parametrize("everything", [True, False])
def test_a_sound_version_has_no_problem(
    bucket: Store, version: VersionManifest, tmp_path: Path, everything: bool
) -> None:
    """Whether all of it is read or a sample; every byte is told to who shows the progress."""
    told: list[int] = []
    found = problems_of(bucket, version, tmp_path / "one", everything=everything, progress=told.append)
    assert (found, sum(told)) == ([], version.size)
    assert manifest_problems(bucket, LINES, version) == []


@pytest.mark.parametrize("path", [INDEX_FILE, SQLITE, "header.bin", "data_level0.bin"])
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: None, "is missing"),
        (lambda data: data[:-1], "bytes, the manifest says"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 128]), "other bytes than the manifest says"),
    ],
    ids=["missing", "truncated", "one bit"],
)
def test_a_file_that_is_not_as_published(
    bucket: Store,
    version: VersionManifest,
    tmp_path: Path,
    path: str,
    damage: Callable[[bytes], bytes | None],
    said: str,
) -> None:
    """One line that begins with its path and names its place; nothing is said of the others."""
    file = named(version, path)
    data = damage(bucket.get(file.key))
    if data is None:
        bucket.delete([file.key])
    else:
        bucket.put(file.key, data)
    (line,) = problems(bucket, version, tmp_path)
    assert line.startswith(f"{file.path}: {bucket.uri(file.key)} ")
    assert said in line


def test_each_wrong_file_is_named(bucket: Store, version: VersionManifest, tmp_path: Path) -> None:
    """All of them, not the first alone."""
    for path in (INDEX_FILE, SQLITE):
        bucket.put(named(version, path).key, b"nothing")
    found = problems(bucket, version, tmp_path)
    assert {line.split(":")[0] for line in found} == {INDEX_FILE, SQLITE}


def without_a_record(path: Path) -> None:
    index = read_index(path)
    write_index(index.slice(1), path)


def with_another_hash(path: Path) -> None:
    index = read_index(path)
    hashes = index.column("hash").to_pylist()
    hashes[3] = bytes(32)
    write_index(index.set_column(1, index.schema.field("hash"), pa.array(hashes, pa.binary(32))), path)


def no_index(path: Path) -> None:
    path.write_bytes(b"not an Arrow file")


def another_table(path: Path) -> None:
    table = pa.table({"id": ["a0"], "other": [1]})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


@pytest.mark.parametrize("damage", [without_a_record, with_another_hash, no_index, another_table])
def test_an_index_that_was_wrong_from_the_beginning(
    bucket: Store, version: VersionManifest, tmp_path: Path, damage: Damage
) -> None:
    """Its hash is as the manifest says: what it holds is compared with the manifest's count and digest."""
    manifest = rewritten(bucket, version, tmp_path, INDEX_FILE, damage)
    found = problems(bucket, manifest, tmp_path)
    assert found
    assert found[0].startswith(f"{INDEX_FILE}: ")


def test_an_index_of_other_records(bucket: Store, version: VersionManifest, tmp_path: Path) -> None:
    """Count and digest fit the index, but not what Chroma holds."""
    manifest = rewritten(bucket, version, tmp_path, INDEX_FILE, with_another_hash)
    path = tmp_path / "index"
    bucket.download_file(named(manifest, INDEX_FILE).key, path)
    fitting = manifest.model_copy(update={"content_digest": digest_of(read_index(path))})
    (line,) = problems(bucket, fitting, tmp_path)
    assert line.startswith(f"{SQLITE}: 1 of 7 records read differ")


def broken_page(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for page in range(2, len(data) // 4096, 3):
        data[page * 4096 : page * 4096 + 100] = b"\xff" * 100
    path.write_bytes(bytes(data))


def no_database(path: Path) -> None:
    path.write_bytes(b"not a database" * 1000)


def without_tables(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE other (id TEXT)")


def another_document(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        changed = connection.execute(
            "UPDATE embedding_metadata SET string_value = 'another' WHERE string_value = 'text 1'"
        )
        assert changed.rowcount == 1
        connection.commit()


def without_one(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("DELETE FROM embeddings WHERE embedding_id = 'a1'").rowcount == 1
        connection.commit()


@pytest.mark.parametrize("damage", [broken_page, no_database, without_tables, another_document, without_one])
def test_a_database_that_was_wrong_from_the_beginning(
    bucket: Store, version: VersionManifest, tmp_path: Path, damage: Damage
) -> None:
    """Its hash is as the manifest says: SQLite, Chroma and the record index tell."""
    manifest = rewritten(bucket, version, tmp_path, SQLITE, damage)
    found = problems(bucket, manifest, tmp_path)
    assert found
    assert all(line.startswith(f"{SQLITE}: ") for line in found)
    assert all(len(line.splitlines()) == 1 for line in found)


@pytest.mark.parametrize("path", [INDEX_FILE, SQLITE, "header.bin", "data_level0.bin"])
def test_a_file_that_the_manifest_does_not_name(
    bucket: Store, version: VersionManifest, tmp_path: Path, path: str
) -> None:
    """Without it nothing can be read: told, not raised."""
    files = tuple(file for file in version.files if not file.path.endswith(path))
    found = problems(bucket, version.model_copy(update={"files": files}), tmp_path)
    assert found
    assert all(line.startswith((f"{INDEX_FILE}: ", f"{SQLITE}: ")) for line in found)


@pytest.mark.parametrize(
    "told",
    [{"total_embeddings": 6}, {"content_digest": "0" * 64}, {"collection": "words"}],
    ids=["count", "digest", "collection"],
)
def test_a_manifest_that_says_something_else(
    bucket: Store, version: VersionManifest, tmp_path: Path, told: dict[str, object]
) -> None:
    """Than what lies there: and that is the published one, if it differs from the version's own too."""
    wrong = version.model_copy(update=told)
    (line,) = manifest_problems(bucket, LINES, wrong)
    assert line == f"{MANIFEST}: the pointer says otherwise than version {version.version}'s own"
    found = problems(bucket, wrong, tmp_path)
    assert bool(found) is (told.keys() != {"collection"})


def test_fence_and_sweeping_are_the_pointers_own(bucket: Store, version: VersionManifest) -> None:
    """They are written after the version."""
    amended = version.model_copy(update={"fence": 9, "sweeping": ("1-0123456789ab",)})
    assert manifest_problems(bucket, LINES, amended) == []


@pytest.mark.parametrize(("data", "said"), [(None, "is missing"), (b"{}", "is not a version's manifest")])
def test_the_versions_own_manifest(bucket: Store, version: VersionManifest, data: bytes | None, said: str) -> None:
    """Missing, or none: the pointer alone is not enough for those who come after."""
    key = f"{versions_prefix(LINES)}{version.version}/{MANIFEST}"
    bucket.delete([key])
    if data is not None:
        bucket.put(key, data)
    (line,) = manifest_problems(bucket, LINES, version)
    assert line.startswith(f"{MANIFEST}: {bucket.uri(key)} {said}")
