"""Versions of `lines` to keep house with."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from embedding_assets.bucket.store import Store
from embedding_assets.databases import LINES
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.ledger.table_definition import create_table
from embedding_assets.versions.manifest import chain
from embedding_assets.versions.mark import mark_published
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.deltas import at, record, records
from embedding_assets_tests.executions.conftest import Workbench
from embedding_assets_tests.upkeep.sweeping import plan

SINGLES = ("first", "second", "third", "fourth")
"""The batches of the four versions, each of an execution of its own."""


@pytest.fixture
def bench(store: Store, ledger: Ledger, tmp_path: Path) -> Workbench:
    """Executions of `lines`."""
    return Workbench(store, ledger, tmp_path)


@dataclass(frozen=True)
class Built:
    """A bucket and a table as they were, and the versions in them, oldest first."""

    objects: Mapping[str, bytes]
    items: tuple[Mapping[str, Any], ...]
    versions: tuple[str, ...]


@pytest.fixture(scope="session")
def stages(aws: AwsClients, tmp_path_factory: pytest.TempPathFactory) -> tuple[Built, Built]:
    """After three merges: a; a and b; a changed, b and c. After a fourth: the same again from a later batch."""
    store = aws.own_bucket()
    table = f"table-{uuid.uuid4().hex}"
    create_table(aws.dynamodb, table)
    ledger = Ledger(table, aws.dynamodb)
    bench = Workbench(store, ledger, tmp_path_factory.mktemp("built"))
    bench.merge([bench.batch("first", records("a", 3), at(0))], 1)
    bench.merge([bench.batch("second", records("b", 2, 10), at(1))], 2)
    bench.merge([bench.batch("third", [record("a0", 77), *records("c", 2, 20)], at(2))], 3)
    mark_published(store, ledger, LINES)
    three = photographed(bench)
    bench.merge([bench.batch("fourth", records("c", 2, 20), at(3))], 4)
    mark_published(store, ledger, LINES)
    return three, photographed(bench)


def photographed(bench: Workbench) -> Built:
    """All objects and items of now."""
    store, ledger = bench.store, bench.ledger
    return Built(
        objects={entry.key: store.get(entry.key) for entry in store.list("")},
        items=tuple(ledger.client.scan(TableName=ledger.table, ConsistentRead=True)["Items"]),
        versions=tuple(one.version for one in chain(store, LINES, bench.pointer().manifest))[::-1],
    )


@pytest.fixture(scope="session")
def built(stages: tuple[Built, Built]) -> Built:
    """Four versions; the fourth names the files of the third."""
    return stages[1]


@pytest.fixture
def three(stages: tuple[Built, Built], bench: Workbench) -> list[str]:
    """Three versions: a; a and b; a changed, b and c."""
    return put(stages[0], bench)


@pytest.fixture
def four(built: Built, bench: Workbench) -> list[str]:
    """The four versions of `built` in the bucket and the table of this test."""
    return put(built, bench)


def put(built: Built, bench: Workbench) -> list[str]:
    """Fill an empty bucket and table; the versions, oldest first."""
    restore(built, bench.store)
    for item in built.items:
        bench.ledger.client.put_item(TableName=bench.ledger.table, Item=dict(item))
    return list(built.versions)


@pytest.fixture(scope="module")
def bucket(aws: AwsClients) -> Store:
    """One bucket for all tests of a module."""
    return aws.own_bucket()


@pytest.fixture
def whole_bucket(built: Built, bucket: Store) -> Store:
    """The objects of `built`, whatever the test before did to them; no table."""
    restore(built, bucket)
    return bucket


def restore(built: Built, store: Store) -> None:
    """Make the bucket that of `built` again."""
    there = {entry.key: store.fetch(entry.key).data for entry in store.list("")}
    store.delete(there.keys() - built.objects.keys())
    for key, data in built.objects.items():
        if there.get(key) != data:
            store.put(key, data)


@pytest.fixture
def planned(bench: Workbench, four: list[str]) -> list[str]:
    """The four versions, and the manifests of the executions that made them."""
    for number, batch_id in enumerate(SINGLES, start=1):
        plan(bench, number, batch_id)
    return four
