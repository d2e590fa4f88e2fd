"""Manifests that another program wrote, or that were damaged: one clear line, and nothing is opened."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from embedding_assets.bucket.keys import pointer_key, versions_prefix
from embedding_assets.bucket.store import Store
from embedding_assets.databases import LINES
from embedding_assets.errors import DamagedError, DamagedVersionError
from embedding_assets.rows.safe_files import MOST_FILES, path_problem
from embedding_assets.rows.snapshot_directory import download_snapshot, find_manifest
from embedding_assets.versions.manifest import chain, read_pointer, read_version
from embedding_assets_tests.chains import key, name, version
from embedding_assets_tests.schedules.memory_s3 import MemoryS3

PREFIX = "some/snapshot/"
DIGEST = "0" * 64
LONGEST_LINE = 400

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def store() -> Store:
    """A bucket."""
    client = cast(Any, MemoryS3())
    return Store("memory", client, client)


def entry(path: str, **values: Any) -> dict[str, Any]:
    """One file of a manifest, as JSON."""
    return {
        "path": path,
        "size": 1,
        "sha256": DIGEST,
        "key": f"{versions_prefix(LINES)}{name(1)}/{path}",
        **values,
    }


FILES: list[tuple[str, list[dict[str, Any]], str]] = [
    ("NUL", [entry("a\0b")], "control character"),
    ("line break", [entry("a\nb")], "control character"),
    ("dot", [entry("a/./b")], "an empty part, . or .."),
    ("two dots", [entry("a/../../b")], "an empty part, . or .."),
    ("empty part", [entry("a//b")], "an empty part, . or .."),
    ("folder", [entry("a/")], "an empty part, . or .."),
    ("empty", [entry("")], "a path is empty"),
    ("absolute", [entry("/etc/passwd")], "not relative"),
    ("backslash", [entry("..\\b")], "backslash"),
    ("5,000 letters", [entry("a" * 5000)], "more than 512 letters or 16 parts"),
    ("3,000 deep", [entry("/".join(["a"] * 3000))], "more than 512 letters or 16 parts"),
    ("part of 300 bytes", [entry("é" * 150)], "more than 255 bytes"),
    ("the manifest itself", [entry("manifest.json")], "names itself"),
    ("twice", [entry("a"), entry("b"), entry("a")], "the same path"),
    ("file and folder", [entry("a/b"), entry("a")], "the path of a folder"),
    ("negative size", [entry("a", size=-1)], "files.0.size"),
    ("size as a text", [entry("a", size="many")], "files.0.size"),
    ("short sha256", [entry("a", sha256="00")], "files.0.sha256"),
    ("sha256 of other letters", [entry("a", sha256="g" * 64)], "files.0.sha256"),
    ("no files", [], "names no file"),
    ("too many files", [entry(f"{number}") for number in range(MOST_FILES + 1)], f"{MOST_FILES}"),
]


def one_line(error: pytest.ExceptionInfo[DamagedError], where: str, said: str) -> None:
    """It names the object, says what is wrong with it, and quotes nothing of any length."""
    message = str(error.value)
    assert where in message
    assert said in message
    assert len(message) < LONGEST_LINE
    assert message.isprintable()


@pytest.mark.parametrize(("files", "said"), [case[1:] for case in FILES], ids=[case[0] for case in FILES])
def test_files_of_a_snapshot(store: Store, files: list[dict[str, Any]], said: str, tmp_path: Path) -> None:
    """Of a delta, say: nothing is brought."""
    manifest = {"format": "arrow", "count": 45, "files": files}
    store.put(f"{PREFIX}manifest.json", json.dumps(manifest).encode())
    with pytest.raises(DamagedError) as error:
        find_manifest(store, PREFIX)
    one_line(error, f"{PREFIX}manifest.json", said)
    with pytest.raises(DamagedError):
        download_snapshot(store, PREFIX, tmp_path / "down")
    assert not (tmp_path / "down").exists()


def put_version(store: Store, change: Change) -> None:
    """A pointer of one version, changed."""
    manifest = json.loads(version(1, None, [key(1)]).model_dump_json())
    change(manifest)
    for where in (pointer_key(LINES), f"{versions_prefix(LINES)}{name(1)}/manifest.json"):
        store.put(where, json.dumps(manifest).encode())


@pytest.mark.parametrize(("files", "said"), [case[1:] for case in FILES], ids=[case[0] for case in FILES])
def test_files_of_a_version(store: Store, files: list[dict[str, Any]], said: str) -> None:
    """In the pointer and in the version's own manifest."""
    put_version(store, lambda manifest: manifest.update(files=files))
    with pytest.raises(DamagedVersionError) as error:
        read_pointer(store, LINES)
    one_line(error, pointer_key(LINES), said)
    with pytest.raises(DamagedVersionError):
        read_version(store, LINES, name(1))


@pytest.mark.parametrize(
    "outside",
    [
        "words/snapshot/versions/1-000000000001/a",
        "lines/snapshot/latest/a",
        "a",
        "",
        "lines/snapshot/versions/../../a",
        "lines/snapshot/versions/1-000000000001/b",
        "lines/snapshot/versions//a",
    ],
)
def test_keys_outside_of_the_versions(store: Store, outside: str) -> None:
    """A version's files are below some version's prefix, each at its path."""
    put_version(store, lambda manifest: manifest.update(files=[entry("a", key=outside)]))
    with pytest.raises(DamagedVersionError) as error:
        read_pointer(store, LINES)
    one_line(error, pointer_key(LINES), "the key of file 0 is not below lines/snapshot/versions/")


@pytest.mark.parametrize(
    "outside",
    ["words/snapshot/changes/a.parquet", "a", "lines/snapshot/changes/../a", "lines/snapshot/changes/"],
)
def test_keys_outside_of_the_changes(store: Store, outside: str) -> None:
    """What a version changed is below the database's prefix of changes."""
    changes = {"key": outside, "size": 1, "sha256": "0" * 64}
    put_version(store, lambda manifest: manifest.update(changes=changes))
    with pytest.raises(DamagedVersionError) as error:
        read_pointer(store, LINES)
    one_line(error, pointer_key(LINES), "the key of its changes is not below lines/snapshot/changes/")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"version": "../../1"}, "version: "),
        ({"parent": "a/b"}, "parent: "),
        ({"rolled_back_to": ".hidden"}, "rolled_back_to: "),
        ({"epoch": -1}, "epoch: "),
        ({"total_embeddings": -1}, "total_embeddings: "),
        ({"created_at": "yesterday"}, "created_at: "),
        ({"created_at": "2026-01-02T12:00:00"}, "created_at: "),
        ({"merge_seconds": -1}, "merge_seconds: "),
        ({"database": "words"}, "of words"),
        ({"batches": "all"}, "batches: "),
    ],
)
def test_other_fields_of_a_version(store: Store, values: dict[str, Any], said: str) -> None:
    """What code relies on later is looked at where it comes in."""
    put_version(store, lambda manifest: manifest.update(values))
    with pytest.raises(DamagedVersionError) as error:
        read_pointer(store, LINES)
    one_line(error, pointer_key(LINES), said)


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[]", b"null", b"[" * 100_000], ids=repr)
def test_no_manifest_at_all(store: Store, data: bytes) -> None:
    """Other bytes, also deeply nested ones."""
    store.put(pointer_key(LINES), data)
    with pytest.raises(DamagedVersionError, match="is not a version's manifest"):
        read_pointer(store, LINES)


@pytest.mark.parametrize("path", ["chroma.sqlite3", "a/b/c.bin", "ü ~ ' name", "..a", "a" * 255])
def test_good_paths(path: str) -> None:
    """Nothing is refused without a reason."""
    assert path_problem(path) is None


def test_a_foreign_snapshot_with_an_odd_key(store: Store, tmp_path: Path) -> None:
    """Without a manifest the keys themselves are the paths."""
    store.put(f"{PREFIX}a/../b", b"1")
    with pytest.raises(DamagedError, match="an empty part"):
        download_snapshot(store, PREFIX, tmp_path / "down")


@pytest.mark.parametrize("back_to", [1, 2, 3])
def test_a_chain_that_comes_back_to_itself(store: Store, back_to: int) -> None:
    """Every walk ends, with a line."""
    versions = [version(1, None, [key(1)])]
    for number in (2, 3):
        versions.append(version(number, versions[-1], [key(number)]))
    versions[0] = versions[0].model_copy(update={"parent": name(back_to)})
    for one in versions:
        store.put(f"{versions_prefix(LINES)}{one.version}/manifest.json", one.model_dump_json().encode())
    with pytest.raises(DamagedVersionError, match=rf"leads back to {name(back_to)}, the parent of {name(1)}"):
        list(chain(store, LINES, versions[-1]))


def test_a_manifest_of_another_version(store: Store) -> None:
    """It would lead the chain astray."""
    put_version(store, lambda manifest: manifest.update(version=name(2)))
    with pytest.raises(DamagedVersionError, match=rf"of version {name(1)} of lines says that it is {name(2)}"):
        read_version(store, LINES, name(1))
