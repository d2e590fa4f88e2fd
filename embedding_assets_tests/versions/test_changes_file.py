"""What versions changed, as their readers follow it: each record's last change, over merges and rollbacks."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from embedding_assets import RecordChange, changes_since
from embedding_assets.bucket.keys import changes_key, errors_key
from embedding_assets.errors import DamagedVersionError, InputError, NotFoundError
from embedding_assets.openai_batches.poll_result import RequestError
from embedding_assets.settings import Settings
from embedding_assets.upkeep.rollback import Rollback
from embedding_assets.versions.changes_file import SCHEMA, read_changes
from embedding_assets_tests.deltas import at, record
from embedding_assets_tests.executions.conftest import Workbench
from embedding_assets_tests.executions.conftest import bench as bench

FAILED = RequestError(id="f", reason="failed", code="http_400", message="no")
LATE = RequestError(id="l", reason="unfinished", code="batch_expired", message="late")


@pytest.fixture
def versions(bench: Workbench, settings: Settings) -> list[str]:
    """Three: two added with a failed and an unfinished one; one changed, one removed, one added; rolled back."""
    whole = bench.batch("one", [record("a", 1), record("b", 2)])
    first = whole.model_copy(update={"failed_count": 1, "unfinished_count": 1})
    errors = "\n".join(json.dumps(error.model_dump(mode="json")) for error in (FAILED, LATE))
    bench.store.put(errors_key("one"), errors.encode())
    names = []
    bench.merge([first], 1)
    names.append(bench.pointer().manifest.version)
    second = bench.batch("two", [record("a", 9), record("c", 3), record("f", 4)], at(1))
    bench.merge([second, bench.deletions("gone", ["b", "never"], at(2))], 2)
    names.append(bench.pointer().manifest.version)
    return names


def changed(bench: Workbench, since: str | None) -> dict[str, RecordChange]:
    """What changed since, by id."""
    return {one.id: one for one in changes_since("lines", since, bucket=bench.store.bucket)}


def test_each_version_names_its_changes(bench: Workbench, versions: list[str]) -> None:
    """One file beside the version, with the contract's columns; its size and sha256 are in the manifest."""
    manifest = bench.pointer().manifest
    assert manifest.changes is not None
    assert manifest.changes.key == changes_key(bench.database, versions[1])
    data = bench.store.get(manifest.changes.key)
    assert len(data) == manifest.changes.size
    path = bench.folder / "changes.parquet"
    path.write_bytes(data)
    assert pq.read_table(path).schema.equals(SCHEMA)
    assert read_changes(bench.store, manifest) == [
        RecordChange("a", "updated", "two"),
        RecordChange("b", "removed", "gone"),
        RecordChange("c", "added", "two"),
        RecordChange("f", "added", "two"),
    ]


def test_the_last_change_of_each_record(bench: Workbench, versions: list[str]) -> None:
    """From the beginning, from a version on, and from the published one: nothing."""
    every = changed(bench, None)
    assert {name: one.change for name, one in every.items()} == {
        "a": "updated",
        "b": "removed",
        "c": "added",
        "f": "added",
        "l": "unfinished",
    }
    assert every["l"] == RecordChange("l", "unfinished", "one", "batch_expired")
    assert changed(bench, versions[0]).keys() == {"a", "b", "c", "f"}
    last = changes_since("lines", versions[1], bucket=bench.store.bucket)
    assert (len(last), last.version) == (0, versions[1])


def test_a_rollback_is_followed(bench: Workbench, versions: list[str]) -> None:
    """What it takes out is removed, what it brings back is added."""
    Rollback(bench.publisher()).to(versions[0], "rollback")
    assert {one.id: one.change for one in changed(bench, versions[1]).values()} == {
        "a": "updated",
        "b": "added",
        "c": "removed",
        "f": "removed",
    }


def test_what_cannot_be_followed(bench: Workbench, versions: list[str], tmp_path: Path) -> None:
    """One line for a version that nothing was built on, a file that is gone, or one that is another."""
    with pytest.raises(InputError, match="was not built on a version 'other'"):
        changed(bench, "other")
    key = changes_key(bench.database, versions[1])
    bench.store.put(key, b"damaged")
    with pytest.raises(DamagedVersionError, match="is not what version"):
        changed(bench, None)
    bench.store.delete([key])
    with pytest.raises(NotFoundError, match=r"changed is gone$"):
        changed(bench, None)
