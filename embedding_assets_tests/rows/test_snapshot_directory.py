"""Snapshot directories: the manifest comes last, and wrong bytes are never read as right ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedding_assets.bucket.store import Store
from embedding_assets.errors import DamagedError, EmbeddingAssetsError, NotFoundError
from embedding_assets.rows.snapshot_directory import (
    FileEntry,
    SnapshotManifest,
    download_snapshot,
    download_verified,
    find_complete,
    find_manifest,
    list_files,
    upload_snapshot,
)

PREFIX = "some/snapshot/"


@pytest.fixture
def store(any_store: Store) -> Store:
    """Each test of this file runs on both S3 servers."""
    return any_store


def made(directory: Path, **files: bytes) -> SnapshotManifest:
    for name, data in files.items():
        path = directory / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return SnapshotManifest(format="arrow", count=1, files=list_files(directory))


@pytest.fixture
def uploaded(store: Store, tmp_path: Path) -> SnapshotManifest:
    manifest = made(tmp_path / "made", one=b"first", deep__two=b"second")
    upload_snapshot(store, tmp_path / "made", PREFIX, manifest)
    return manifest


def test_a_snapshot_comes_back(store: Store, uploaded: SnapshotManifest, tmp_path: Path) -> None:
    """Exactly the files, and the manifest that tells of them."""
    assert {entry.key for entry in store.list("")} == {
        f"{PREFIX}{n}" for n in ("one", "deep/two", "manifest.json")
    }
    assert find_manifest(store, PREFIX) == find_complete(store, PREFIX) == uploaded
    assert [(entry.path, entry.size) for entry in uploaded.files] == [("deep/two", 6), ("one", 5)]
    assert download_snapshot(store, PREFIX, tmp_path / "down") == uploaded
    assert list_files(tmp_path / "down") == uploaded.files
    assert uploaded.size == 11


def test_an_upload_that_breaks_off_leaves_no_manifest(
    store: Store, uploaded: SnapshotManifest, tmp_path: Path
) -> None:
    """Writing again over a finished snapshot, no moment shows the old manifest over new files."""
    newer = made(tmp_path / "newer", one=b"newer")
    (tmp_path / "newer" / "one").unlink()
    with pytest.raises((OSError, EmbeddingAssetsError)):
        upload_snapshot(store, tmp_path / "newer", PREFIX, newer)
    assert find_manifest(store, PREFIX) is None


def test_over_nothing_nothing_is_removed(store: Store, tmp_path: Path) -> None:
    """A first upload needs no call more than its objects; the manifest of one who wrote the same stays."""
    manifest = made(tmp_path / "made", one=b"first")
    upload_snapshot(store, tmp_path / "made", PREFIX, manifest)
    (tmp_path / "made" / "one").unlink()
    with pytest.raises(OSError, match="one"):
        upload_snapshot(store, tmp_path / "made", PREFIX, manifest, over_nothing=True)
    assert find_complete(store, PREFIX) == manifest


@pytest.mark.parametrize("damage", [b"first!", b"First"])
def test_wrong_bytes_are_damage(store: Store, uploaded: SnapshotManifest, tmp_path: Path, damage: bytes) -> None:
    """Another size, or the same size and other bytes: told with the key."""
    store.put(f"{PREFIX}one", damage)
    with pytest.raises(DamagedError, match=f"{PREFIX}one"):
        download_snapshot(store, PREFIX, tmp_path / "down")


def test_a_snapshot_with_a_file_missing_is_not_complete(
    store: Store, uploaded: SnapshotManifest, tmp_path: Path
) -> None:
    """It is made again instead of being believed."""
    store.delete([f"{PREFIX}deep/two"])
    assert find_complete(store, PREFIX) is None
    assert find_manifest(store, PREFIX) == uploaded
    with pytest.raises((DamagedError, NotFoundError)):
        download_snapshot(store, PREFIX, tmp_path / "down")


def test_a_file_of_another_size_is_not_complete(store: Store, uploaded: SnapshotManifest) -> None:
    """Sizes count without a download."""
    store.put(f"{PREFIX}one", b"longer than before")
    assert find_complete(store, PREFIX) is None


def test_without_a_manifest_everything_is_brought(store: Store, tmp_path: Path) -> None:
    """Another program's snapshot: all objects but folder markers, and None for the manifest."""
    store.put("foreign/chroma.sqlite3", b"1")
    store.put("foreign/uuid/data.bin", b"2")
    store.put("foreign/", b"")
    store.put("foreigner", b"not of it")
    assert download_snapshot(store, "foreign/", tmp_path / "down") is None
    assert [entry.path for entry in list_files(tmp_path / "down")] == ["chroma.sqlite3", "uuid/data.bin"]


def test_nothing_there_is_told(store: Store, tmp_path: Path) -> None:
    """An empty prefix is no empty snapshot."""
    assert find_manifest(store, "nothing/") is None
    with pytest.raises(NotFoundError, match="nothing/"):
        download_snapshot(store, "nothing/", tmp_path / "down")


def test_a_manifest_that_is_none_is_damage(store: Store) -> None:
    """Bytes that are no manifest are told, not taken for absence."""
    store.put(f"{PREFIX}manifest.json", b"{}")
    with pytest.raises(DamagedError, match="manifest"):
        find_manifest(store, PREFIX)


class HealingStore(Store):
    """A bucket whose first answer for a key is wrong."""

    def download_file(self, key: str, path: Path) -> None:
        super().download_file(key, path)
        if key not in self.asked:
            path.write_bytes(b"wrong")
        self.asked.append(key)

    asked: list[str]


def test_a_wrong_file_is_brought_once_more(store: Store, uploaded: SnapshotManifest, tmp_path: Path) -> None:
    """Once more for those that are wrong, and for those alone; each finished file's bytes are told once."""
    healing = HealingStore(store.bucket, store._client, store._single_try)
    healing.asked = [f"{PREFIX}one"]
    told: list[int] = []
    files = [(entry, PREFIX + entry.path) for entry in uploaded.files]
    download_verified(healing, files, tmp_path / "down", told.append)
    assert sorted(healing.asked[1:]) == [f"{PREFIX}deep/two", f"{PREFIX}deep/two", f"{PREFIX}one"]
    assert sorted(told) == [5, 6]
    assert list_files(tmp_path / "down") == uploaded.files


def test_the_manifest_itself_is_no_file_of_the_snapshot(tmp_path: Path) -> None:
    """Only the top one: a file of that name deeper down is content."""
    (tmp_path / "deep").mkdir()
    for name in ("manifest.json", "deep/manifest.json"):
        (tmp_path / name).write_bytes(b"x")
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    assert list_files(tmp_path) == (FileEntry(path="deep/manifest.json", size=1, sha256=digest),)
