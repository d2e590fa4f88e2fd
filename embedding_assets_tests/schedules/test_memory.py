"""The bucket and table in memory answer as the servers do: the same calls, the same outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, cast

import pytest

from embedding_assets.bucket.store import Store
from embedding_assets.databases import LINES
from embedding_assets.errors import EmbeddingAssetsError
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.ledger.locks import MergeLock
from embedding_assets_tests.deltas import at
from embedding_assets_tests.schedules.memory_dynamodb import MemoryDynamoDB
from embedding_assets_tests.schedules.memory_s3 import MemoryS3


def outcome(work: Callable[[], Any]) -> Any:
    """What a call gives, or the kind of error it raises."""
    try:
        return work()
    except EmbeddingAssetsError as error:
        return type(error).__name__


def bucket_story(store: Store) -> Iterator[Any]:
    """Every way in which the product speaks to S3."""
    yield outcome(lambda: store.get("a"))
    yield store.find("a")
    yield outcome(lambda: store.replace("a", b"0", '"none"'))
    yield outcome(lambda: store.create("a", b"1"))
    yield outcome(lambda: store.create("a", b"2"))
    first = store.fetch("a")
    yield first.data, first.etag
    yield outcome(lambda: store.replace("a", b"3", first.etag))
    yield outcome(lambda: store.replace("a", b"4", first.etag))
    store.put("b/1", b"")
    store.put("b/2", b"55")
    yield [(entry.key, entry.size) for entry in store.list("b/")]
    yield [entry.key for entry in store.list("")]
    young = [entry.last_modified for entry in store.list("b/")]
    yield max(young) - min(young) < timedelta(minutes=1)
    store.delete(["b/1", "b/none"])
    yield [entry.key for entry in store.list("")]


def test_the_bucket(store: Store) -> None:
    """S3 in memory as the server."""
    client = cast(Any, MemoryS3())
    assert list(bucket_story(Store("memory", client, client))) == list(bucket_story(store))


def table_story(ledger: Ledger) -> Iterator[Any]:
    """Every way in which the product speaks to DynamoDB."""
    batch = BatchSummary(
        batch_id="b1",
        openai_batch_id="openai-b1",
        batch_type=LINES.batch_type,
        status=Status.PENDING,
        submitted_at=at(0),
    )
    yield outcome(lambda: ledger.get("b1"))
    yield outcome(lambda: ledger.create(batch))
    yield outcome(lambda: ledger.create(batch))
    yield ledger.live(LINES)
    yield list(ledger.by_status(Status.PENDING))
    yield ledger.observe("b1", 0, Status.IN_PROGRESS)
    yield ledger.observe("b1", 1, Status.FINALIZING)
    yield ledger.count_failure(ledger.get("b1"), "once")
    yield _timeless(ledger.finish("b1", 0, Status.COMPLETED, {"embedded_count": 3}))
    yield ledger.finish("b1", 0, Status.FAILED, {})
    yield ledger.live(LINES)
    row = ledger.get("b1")
    yield _timeless(ledger.reopen(row))
    yield outcome(lambda: ledger.reopen(row))
    yield ledger.finish("b1", 0, Status.FAILED, {})
    yield _timeless(ledger.put_aside("b1", 1, "reason"))
    yield {name: _timeless(one) for name, one in ledger.get_many(["b1", "none"]).items()}
    for _ in range(2):
        with _lock(ledger) as held:
            yield held.epoch, held._renew()
    dead, other = _lock(ledger), _lock(ledger)
    dead._acquire()
    yield other._take(None), other._take(dead._read())
    yield dead._renew()


def _lock(ledger: Ledger) -> MergeLock:
    return MergeLock(
        ledger.client, ledger.table, "lines", execution_id="e", lease_seconds=60, epoch_floor=lambda: 0
    )


def _timeless(row: BatchSummary | None) -> BatchSummary | None:
    return row and row.model_copy(update={"completed_at": None, "reset_at": None})


def test_the_table(ledger: Ledger) -> None:
    """DynamoDB in memory as the server."""
    memory = Ledger("memory", cast(Any, MemoryDynamoDB()))
    assert list(table_story(memory)) == list(table_story(ledger))


def test_a_condition_that_is_not_understood_is_told() -> None:
    """The one in memory knows few words; a new one must not count as true."""
    with pytest.raises((AssertionError, IndexError, KeyError)):
        MemoryDynamoDB().put_item(
            TableName="", Item={"PK": {"S": "a"}, "SK": {"S": "b"}}, ConditionExpression="size(a) > 3"
        )
