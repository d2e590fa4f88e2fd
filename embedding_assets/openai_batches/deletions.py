"""Batches of deletions: rows in the ledger like others, in which OpenAI has no part."""

from __future__ import annotations

import codecs

import orjson

from embedding_assets.bucket.keys import records_key
from embedding_assets.bucket.store import Store
from embedding_assets.errors import BatchError, NotFoundError
from embedding_assets.ledger.batch_summary import BatchSummary
from embedding_assets.openai_batches.record_ids import usable_id
from embedding_assets.openai_batches.remote import RemoteBatch


def finished_itself(batch: BatchSummary) -> RemoteBatch:
    """A batch in which OpenAI has no part, as if OpenAI had returned it."""
    return RemoteBatch(batch.openai_batch_id, "completed", batch.submitted_at, batch.submitted_at)


def read_deletions(store: Store, batch_id: str, count: int | None = None) -> tuple[str, ...]:
    """The ids of a batch of deletions, from `records/`; blank lines are none.

    Raises BatchError if they are not there or broken, or if there are not `count` of them.
    """
    key = records_key(batch_id)
    try:
        lines = store.get(key).removeprefix(codecs.BOM_UTF8).splitlines()
    except NotFoundError as error:
        raise BatchError(f"batch {batch_id}: {key}, which lists what it deletes, is not there") from error
    ids = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise BatchError(f"{key} line {number} is not JSON: {error}") from error
        record_id = (
            usable_id(value.get("id")) if isinstance(value, dict) and value.get("deleted") is True else None
        )
        if record_id is None:
            raise BatchError(f"{key} line {number} is no deletion")
        ids.append(record_id)
    if not ids:
        raise BatchError(f"batch {batch_id}: {key} is empty")
    if count is not None and len(ids) != count:
        raise BatchError(f"batch {batch_id}: {key} has {len(ids)} ids, but the row's deletion_count is {count}")
    return tuple(ids)
