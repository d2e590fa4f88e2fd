"""What a merge costs under the lock does not grow with the history."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from embedding_assets.bucket.keys import pointer_key, version_prefix
from embedding_assets.databases import LINES
from embedding_assets.ledger.bookmark import Bookmark
from embedding_assets.rows.snapshot_directory import MANIFEST
from embedding_assets.versions.mark import mark_published
from embedding_assets.versions.witnesses import RECENT
from embedding_assets_tests.faults.process import processes
from embedding_assets_tests.schedules.scenarios import current
from embedding_assets_tests.schedules.yard import Yard

LONG = 10_000
GETS_UNDER_THE_LOCK = 16
"""Of the pointer, receipts, the base's files, the intermediates."""


@pytest.fixture
def yard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    """An empty bucket and table."""
    made = Yard()
    made.patch(monkeypatch)
    with processes():
        yield made


class Count:
    """GETs of the bucket while the lock of the merge is held."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.held = False


@contextmanager
def counting(yard: Yard) -> Iterator[Count]:
    """Count what happens meanwhile."""
    count = Count()
    get_object, update_item = yard.s3.get_object, yard.dynamodb.update_item

    def get(**request: Any) -> Any:
        if count.held:
            count.keys.append(request["Key"])
        return get_object(**request)

    def update(**request: Any) -> Any:
        if request["Key"]["PK"]["S"] == "LOCK#lines":
            count.held = "REMOVE #owner" not in request["UpdateExpression"]
        return update_item(**request)

    yard.s3.get_object, yard.dynamodb.update_item = get, update  # type: ignore[method-assign]
    try:
        yield count
    finally:
        yard.s3.get_object, yard.dynamodb.update_item = get_object, update_item  # type: ignore[method-assign]


def grow(yard: Yard, versions: int, *, old_style: bool = False) -> list[str]:
    """So many versions on top of the published one, with its content; marked, all of them. Their names."""
    base = json.loads(current(yard).model_dump_json())
    if old_style:
        del base["withdrawn_generations"]
    names = [base["version"]]
    data = b""
    for epoch in range(base["epoch"] + 1, base["epoch"] + 1 + versions):
        names.append(f"{epoch}-{epoch:012x}")
        changes = {
            "version": names[-1],
            "parent": names[-2],
            "epoch": epoch,
            "fence": epoch,
            "commit_id": names[-1],
            "execution_id": f"20260102T120000Z-{0xF0000000 + epoch:08x}",
            "batches": [],
        }
        data = json.dumps({**base, **changes}).encode()
        yard.s3.put_object(Bucket="", Key=version_prefix(LINES, names[-1]) + MANIFEST, Body=data)
    yard.s3.put_object(Bucket="", Key=pointer_key(LINES), Body=data)
    Bookmark(yard.ledger.client, "memory", "lines").write(names[-1])
    yard.dynamodb.put_item(
        TableName="",
        Item={
            "PK": {"S": "LOCK#lines"},
            "SK": {"S": "LOCK"},
            "epoch": {"N": str(base["epoch"] + versions)},
            "record_version": {"S": "grown"},
            "published": {"S": names[-1]},
        },
    )
    return names


def merged(yard: Yard, batch_id: str) -> Count:
    """The next merge, of one batch."""
    yard.arrive(batch_id, {"late": len(yard.polled)}, 9)
    with counting(yard) as count:
        yard.merge(yard.live())
    assert not count.held
    assert [one.batch_id for one in current(yard).batches] == [batch_id]
    return count


def begin(yard: Yard, *, withdrawn: bool) -> None:
    """A few versions; with `withdrawn` the second one is out."""
    for batch_id, seed in (("b1", 1), ("b2", 2)):
        yard.arrive(batch_id, {f"r{seed}": seed}, seed)
        yard.everything()
    if withdrawn:
        yard.rollback(1)
        assert current(yard).withdrawn == ("b2",)


@pytest.mark.parametrize("withdrawn", [False, True], ids=["merges alone", "after a rollback"])
def test_ten_thousand_versions(yard: Yard, withdrawn: bool) -> None:
    """As many GETs under the lock as with a handful, also if a batch is withdrawn."""
    begin(yard, withdrawn=withdrawn)
    few = merged(yard, "few")
    yard.mark()
    grow(yard, LONG)
    many = merged(yard, "many")
    assert len(many.keys) == len(few.keys) <= GETS_UNDER_THE_LOCK, many.keys
    assert current(yard).withdrawn == (("b2",) if withdrawn else ())
    assert current(yard).withdrawn_generations == ({"b2": 0} if withdrawn else {})


def test_ten_thousand_versions_from_before_there_were_receipts(yard: Yard) -> None:
    """A few more, and never again: the next version is one of today's."""
    begin(yard, withdrawn=False)
    yard.mark()
    grow(yard, LONG, old_style=True)
    assert len(merged(yard, "first").keys) <= GETS_UNDER_THE_LOCK + RECENT
    yard.mark()
    assert len(merged(yard, "second").keys) <= GETS_UNDER_THE_LOCK


def test_withdrawn_batches_from_before_they_had_generations(yard: Yard) -> None:
    """The chain is read once; the version that comes of it carries them on."""
    begin(yard, withdrawn=True)
    grow(yard, 100, old_style=True)
    assert len(merged(yard, "first").keys) > 100
    yard.mark()
    assert len(merged(yard, "second").keys) <= GETS_UNDER_THE_LOCK
    assert current(yard).withdrawn_generations == {"b2": 0}


def test_marking_that_lags_behind(yard: Yard) -> None:
    """The bookmark is looked for among the newest versions; it is thousands behind, and nothing is wrong."""
    begin(yard, withdrawn=False)
    names = grow(yard, LONG)
    Bookmark(yard.ledger.client, "memory", "lines").write(names[100])
    assert len(merged(yard, "late").keys) <= GETS_UNDER_THE_LOCK + RECENT


def test_an_execution_of_long_ago_finds_its_version(yard: Yard) -> None:
    """By its receipt: nothing is merged again."""
    yard.arrive("b1", {"r1": 1}, 1)
    batches = yard.live()
    yard.merge(batches)
    yard.mark()
    before = grow(yard, LONG)[-1]
    yard.executions -= 1
    with counting(yard) as count:
        yard.merge(batches)
    assert current(yard).version == before
    assert len(count.keys) <= GETS_UNDER_THE_LOCK
    assert mark_published(yard.store, yard.ledger, LINES) == []
