"""Deletions in a merge: rows without a vector and without a hash, which compete with records by precedence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from embedding_assets.bucket.store import Store
from embedding_assets.errors import ConservationError
from embedding_assets.openai_batches.deletions import read_deletions
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.rows.arrow import Provenance


@dataclass(frozen=True)
class Deletions:
    """The ids that one batch takes out."""

    ids: tuple[str, ...]
    provenance: Provenance


def deletions_of(store: Store, results: Iterable[PollResult]) -> list[Deletions]:
    """What the batches of deletions among `results` take out. ConservationError if the counts differ."""
    found = []
    for result in results:
        if not result.deletion_count:
            continue
        ids = read_deletions(store, result.batch_id)
        if len(ids) != result.deletion_count or result.precedence_at is None:
            raise ConservationError(
                f"batch {result.batch_id}: {result.deletion_count} deletions polled, {len(ids)} to merge"
            )
        found.append(Deletions(ids, Provenance(result.batch_id, result.precedence_at, result.generation)))
    return found


def with_deletions(keys: pa.Table, deletions: Iterable[Deletions]) -> pa.Table:
    """`keys` (with `ordinal` and whatever else) and, after them, a row for each deletion; their hash is null."""
    schema = pa.schema([field.with_nullable(True) for field in keys.schema])
    tables = [keys.cast(schema)]
    position = keys.num_rows
    for deletion in deletions:
        count = len(deletion.ids)
        known = {
            "id": pa.array(deletion.ids, pa.string()),
            "ordinal": pa.array(np.arange(position, position + count, dtype=np.int64)),
            "batch_id": pa.repeat(pa.scalar(deletion.provenance.batch_id), count),
            "precedence_at": pa.repeat(
                pa.scalar(deletion.provenance.precedence_at, schema.field("precedence_at").type), count
            ),
            "generation": pa.repeat(pa.scalar(deletion.provenance.generation, pa.int64()), count),
        }
        columns = [known.get(field.name, pa.nulls(count, field.type)) for field in schema]
        tables.append(pa.Table.from_arrays(columns, schema=schema))
        position += count
    return pa.concat_tables(tables)
