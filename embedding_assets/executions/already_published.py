"""Deltas that the published version holds already, whole: merging them again would change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import pyarrow as pa

from embedding_assets.bucket.store import Store
from embedding_assets.databases import Database
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.rows.record_index import alive
from embedding_assets.versions.manifest import VersionManifest, chain
from embedding_assets.versions.reader import published_index

VERSIONS_LOOKED_AT = 100
"""How far back a batch's latest publication is looked for; one from before is merged as if it were new."""
LOOKED_AT_UNDER_THE_LOCK = 20
"""The same, from the published version back to the one that held the batch when it was polled."""


def with_published(
    store: Store, database: Database, published: VersionManifest | None, results: Sequence[PollResult]
) -> list[PollResult]:
    """The results; those whose delta the published version holds already tell it as `published_as`.

    Only batches that were opened again can be such ones: without one, nothing is read.
    """
    if published is None or not any(result.has_delta and result.generation for result in results):
        return list(results)
    there = already_published(store, database, published, published_index(store, published), results)
    return [
        result.model_copy(update={"published_as": published.version}) if result.batch_id in there else result
        for result in results
    ]


def already_published(
    store: Store,
    database: Database,
    published: VersionManifest,
    index: pa.Table,
    results: Sequence[PollResult],
    most: int = VERSIONS_LOOKED_AT,
) -> set[str]:
    """The batches all of whose records are in `published` as their delta has them; `index` is its record index.

    So it is if the batch's latest publication is of this very delta, no rollback or rebuild with another model
    was made since, and each of its records is still the one that counts: none was replaced or deleted. A result
    that has `published_as` was looked for when it was polled: versions from before that one are not read again.
    At most `most` versions are read.
    """
    counted = alive(index).group_by(["batch_id", "precedence_at"]).aggregate([("id", "count")])
    columns = (counted.column(name).to_pylist() for name in ("batch_id", "precedence_at", "id_count"))
    standing = {(batch_id, precedence): count for batch_id, precedence, count in zip(*columns, strict=True)}
    candidates = {
        result.batch_id: result.delta_key
        for result in results
        if result.has_delta
        and result.batch_id not in published.withdrawn
        and standing.get((result.batch_id, result.precedence_at)) == result.embedding_count
    }
    found: set[str] = set()
    for manifest in islice(chain(store, database, published), most):
        if manifest.model != published.model:
            break
        for result in results:
            if result.published_as == manifest.version and candidates.pop(result.batch_id, None) is not None:
                found.add(result.batch_id)
        for batch in manifest.batches:
            if candidates.get(batch.batch_id) == batch.delta_key:
                found.add(batch.batch_id)
            candidates.pop(batch.batch_id, None)
        if not candidates or manifest.rolled_back_to is not None:
            break
    return found
