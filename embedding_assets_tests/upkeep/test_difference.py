"""What lies between two versions: ids by their hashes, from the record indexes alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedding_assets.bucket.keys import versions_prefix
from embedding_assets.bucket.store import Store
from embedding_assets.databases import LINES
from embedding_assets.errors import DamagedError
from embedding_assets.rows.record_index import read_index, write_index
from embedding_assets.rows.snapshot_directory import file_sha256
from embedding_assets.upkeep.difference import Difference, difference
from embedding_assets.versions.manifest import INDEX_FILE, VersionManifest
from embedding_assets.versions.reader import find_version
from embedding_assets_tests.upkeep.conftest import Built

NOTHING: tuple[str, ...] = ()


def manifest(bucket: Store, built: Built, number: int) -> VersionManifest:
    """The so-manieth version."""
    return find_version(bucket, LINES, built.versions[number - 1])


@pytest.mark.parametrize(
    ("older", "newer", "wanted"),
    [
        (1, 2, Difference(("b0", "b1"), NOTHING, NOTHING, 3)),
        (2, 3, Difference(("c0", "c1"), NOTHING, ("a0",), 4)),
        (1, 3, Difference(("b0", "b1", "c0", "c1"), NOTHING, ("a0",), 2)),
        (3, 1, Difference(NOTHING, ("b0", "b1", "c0", "c1"), ("a0",), 2)),
        (3, 4, Difference(NOTHING, NOTHING, NOTHING, 7)),
        (2, 2, Difference(NOTHING, NOTHING, NOTHING, 5)),
    ],
)
def test_what_lies_between(
    whole_bucket: Store, built: Built, tmp_path: Path, older: int, newer: int, wanted: Difference
) -> None:
    """Added, removed, changed in content; that another batch delivered the very same is no change."""
    left, right = (manifest(whole_bucket, built, number) for number in (older, newer))
    assert difference(whole_bucket, left, right) == wanted


def test_only_the_indexes_are_read(whole_bucket: Store, built: Built, tmp_path: Path) -> None:
    """However large the versions are: everything else may be gone."""
    left, right = (manifest(whole_bucket, built, number) for number in (1, 3))
    others = {file.key for one in (left, right) for file in one.files if file.path != INDEX_FILE}
    whole_bucket.delete(others)
    assert difference(whole_bucket, left, right).added == ("b0", "b1", "c0", "c1")


def test_a_deleted_record_is_removed(whole_bucket: Store, built: Built, tmp_path: Path) -> None:
    """It stays in the index as a tombstone, which is no record."""
    left = manifest(whole_bucket, built, 1)
    file = next(file for file in left.files if file.path == INDEX_FILE)
    path = tmp_path / "index"
    whole_bucket.download_file(file.key, path)
    rows = read_index(path).to_pylist()
    rows[1]["hash"] = None
    table = read_index(path)
    write_index(table.from_pylist(rows, schema=table.schema), path)
    key = f"{versions_prefix(LINES)}9-0123456789ab/{INDEX_FILE}"
    whole_bucket.upload_file(path, key)
    told = file.model_copy(update={"key": key, **described(path)})
    right = left.model_copy(update={"files": (told,)})
    assert difference(whole_bucket, left, right) == Difference(NOTHING, ("a1",), NOTHING, 2)


def described(path: Path) -> dict[str, object]:
    """Size and hash of a file, as a manifest has them."""
    return {"size": path.stat().st_size, "sha256": file_sha256(path)}


def test_a_damaged_index_is_not_compared(whole_bucket: Store, built: Built, tmp_path: Path) -> None:
    """Its bytes are checked before they are read."""
    left, right = (manifest(whole_bucket, built, number) for number in (1, 2))
    key = next(file.key for file in right.files if file.path == INDEX_FILE)
    whole_bucket.put(key, whole_bucket.get(key)[:-1])
    with pytest.raises(DamagedError, match=key):
        difference(whole_bucket, left, right)


def test_a_version_without_an_index_is_not_compared(whole_bucket: Store, built: Built, tmp_path: Path) -> None:
    """Nobody can say what is in it."""
    left, right = (manifest(whole_bucket, built, number) for number in (1, 2))
    without = tuple(file for file in right.files if file.path != INDEX_FILE)
    with pytest.raises(DamagedError, match=INDEX_FILE):
        difference(whole_bucket, left, right.model_copy(update={"files": without}))
