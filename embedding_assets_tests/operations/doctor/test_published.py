"""Pointer, chain, files and lock of a database: whole, and damaged in each way."""

from __future__ import annotations

import json
from typing import Any

import pytest

from embedding_assets.bucket.keys import receipts_prefix
from embedding_assets.databases import LINES
from embedding_assets.ledger.locks import MergeLock
from embedding_assets.operations.doctor.check import Result, Status
from embedding_assets.versions.publish import amend
from embedding_assets_tests.deltas import at, records
from embedding_assets_tests.executions.conftest import LEASE_SECONDS, Workbench, execution
from embedding_assets_tests.operations.doctor.conftest import Patient, named

POINTER = "lines/snapshot/latest/manifest.json"
CHECK = "lines published"


@pytest.fixture
def versions(bench: Workbench) -> list[str]:
    """Three versions of `lines`, the first one first."""
    published = []
    for number in range(3):
        bench.merge([bench.batch(f"b{number}", records(f"r{number}-", 2, number), at(number))], number)
        published.append(bench.pointer().manifest.version)
    return published


def manifest_key(version: str) -> str:
    return f"lines/snapshot/versions/{version}/manifest.json"


def change(bench: Workbench, key: str, **values: Any) -> None:
    """Another value in a stored manifest."""
    bench.store.put(key, json.dumps({**json.loads(bench.store.get(key)), **values}).encode())


def failure(patient: Patient) -> Result:
    """The result of the one check that fails."""
    results = patient.examine(rounds=1)
    assert named(results, Status.FAILED) == {CHECK}
    return results[CHECK]


def test_a_published_database(patient: Patient, bench: Workbench, versions: list[str]) -> None:
    """The version, its files and the length of the chain are told; the lock is free with its epoch."""
    results = patient.examine(rounds=1)
    assert named(results, Status.OK) == set(results)
    files = len(bench.pointer().manifest.files)
    assert results[CHECK].message.startswith(f"version {versions[-1]}, {files} files, ")
    assert results[CHECK].message.endswith("all there; 3 versions back to the first")
    assert results["lines lock"].message == f"free, epoch {bench.pointer().manifest.epoch}"


def test_fence_and_sweeping_are_the_pointers_own(patient: Patient, bench: Workbench, versions: list[str]) -> None:
    """They are written after the version's own manifest: a difference there is none."""
    amend(bench.store, LINES, bench.pointer(), 99, (versions[0],))
    assert patient.examine(rounds=1)[CHECK].status is Status.OK


def test_a_pointer_that_is_not_json(patient: Patient, bench: Workbench, versions: list[str]) -> None:
    """Its key is named."""
    bench.store.put(POINTER, b"latest")
    assert POINTER in failure(patient).message


def test_a_pointer_that_says_other_than_its_version(
    patient: Patient, bench: Workbench, versions: list[str]
) -> None:
    """Somebody edited it."""
    change(bench, POINTER, total_embeddings=5)
    assert f"differs from the manifest of its version {versions[-1]}" in failure(patient).message


@pytest.mark.parametrize(("number", "named_by"), [(0, 1), (1, 2), (2, None)])
def test_a_missing_manifest(
    patient: Patient, bench: Workbench, versions: list[str], number: int, named_by: int | None
) -> None:
    """The chain is broken there; the version and who names it are told."""
    bench.store.delete([manifest_key(versions[number])])
    message = failure(patient).message
    by = "the pointer" if named_by is None else f"the parent of version {versions[named_by]}"
    assert by in message
    assert f"{versions[number]}, whose manifest is missing" in message


def test_a_manifest_of_another_version(patient: Patient, bench: Workbench, versions: list[str]) -> None:
    """A manifest lies where another one belongs."""
    bench.store.put(manifest_key(versions[0]), bench.store.get(manifest_key(versions[1])))
    assert f"says that it is {versions[1]} of lines" in failure(patient).message


def test_a_chain_that_leads_back(patient: Patient, bench: Workbench, versions: list[str]) -> None:
    """It ends all the same."""
    epoch = bench.pointer().manifest.epoch
    change(bench, manifest_key(versions[0]), parent=versions[1], epoch=epoch)
    change(bench, manifest_key(versions[1]), epoch=epoch)
    assert f"leads back to {versions[1]}" in failure(patient).message


def test_epochs_that_fall(patient: Patient, bench: Workbench, versions: list[str]) -> None:
    """A parent with a greater epoch than its child."""
    change(bench, manifest_key(versions[0]), epoch=50)
    assert "epoch 2 of version" in failure(patient).message


def test_a_missing_file(patient: Patient, bench: Workbench, versions: list[str]) -> None:
    """The first one is named with what can be done, the others are counted."""
    files = bench.pointer().manifest.files
    bench.store.delete([file.key for file in files[:2]])
    message = failure(patient).message
    assert f"version {versions[-1]} is not whole: {bench.store.uri(files[0].key)} is missing and 1 more" in message
    assert "snapshots rollback lines" in message


def test_a_file_of_another_size(patient: Patient, bench: Workbench, versions: list[str]) -> None:
    """Both sizes are told."""
    file = bench.pointer().manifest.files[0]
    bench.store.put(file.key, b"x")
    assert f"{bench.store.uri(file.key)} has 1 bytes instead of {file.size}" in failure(patient).message


def test_a_pointer_that_is_gone(patient: Patient, bench: Workbench, versions: list[str]) -> None:
    """The table knows what was published: the version and the remedy are named."""
    bench.store.delete([POINTER])
    message = failure(patient).message
    assert f"{POINTER} is missing, but version {versions[-1]} of lines was published" in message
    assert "run `embedding-assets snapshots repair lines`" in message


def test_a_pointer_that_was_put_back(patient: Patient, bench: Workbench, versions: list[str]) -> None:
    """To an older object version: what it points at is whole, and behind."""
    bench.store.put(POINTER, bench.store.get(manifest_key(versions[0])))
    message = failure(patient).message
    assert f"points at version {versions[0]}, but version {versions[-1]} of lines was published" in message
    assert "run `embedding-assets snapshots repair lines`" in message


def test_versions_without_a_pointer_that_nobody_knows(
    patient: Patient, bench: Workbench, versions: list[str]
) -> None:
    """A first merge that did not end looks the same, so it is a warning."""
    bench.store.delete([POINTER, *(entry.key for entry in bench.store.list(receipts_prefix(LINES)))])
    bench.ledger.client.delete_item(
        TableName=bench.ledger.table, Key={"PK": {"S": "LOCK#lines"}, "SK": {"S": "LOCK"}}
    )
    results = patient.examine(rounds=1)
    assert named(results, Status.WARNING) == {CHECK}
    assert "no pointer, but 3 versions" in results[CHECK].message


def test_a_lock_that_is_held(patient: Patient, bench: Workbench) -> None:
    """Who holds it, for what, since which epoch; holding it is no fault."""
    lock = MergeLock(
        bench.ledger.client,
        bench.ledger.table,
        "lines",
        execution_id=execution(7),
        lease_seconds=LEASE_SECONDS,
        epoch_floor=lambda: 41,
    )
    with lock:
        results = patient.examine(rounds=1)
    assert results["lines lock"].status is Status.OK
    assert f"for execution {execution(7)}, epoch 42, lease {LEASE_SECONDS} s" in results["lines lock"].message
