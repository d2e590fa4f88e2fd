"""Folding: several sources of rows become one, in which each id stands once.

Of two rows with one id the greatest `(precedence_at, batch_id, generation)` wins; of rows of one batch, the
later source. Conservation: the ids that come out are the union of the ids that went in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedding_assets.chroma.row_source import RowSource
from embedding_assets.errors import ConservationError, MismatchError
from embedding_assets.rows.arrow import RowWriter, row_schema

KEY = ("id", "precedence_at", "batch_id", "generation")

Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]


def keys_of(sources: Sequence[RowSource], more: Sequence[str] = ()) -> pa.Table:
    """The key columns (and `more`) of all rows of all sources, in order, with their position as `ordinal`."""
    names = [*KEY, *more]
    parts = [batch.select(names) for source in sources for batch in source.batches()]
    table = pa.Table.from_batches(parts, schema=pa.schema([row_schema(1).field(name) for name in names]))
    return table.append_column("ordinal", pa.array(np.arange(table.num_rows, dtype=np.int64)))


def winners(keys: pa.Table) -> Mask:
    """For each row of `keys`, in its order, whether it is the one that counts for its id."""
    mask = np.zeros(keys.num_rows, dtype=np.bool_)
    if keys.num_rows == 0:
        return mask
    ordered = keys.sort_by([(name, "ascending") for name in (*KEY, "ordinal")])
    ids = ordered.column("id").combine_chunks()
    last = np.ones(keys.num_rows, dtype=np.bool_)
    last[:-1] = pc.not_equal(ids[:-1], ids[1:]).to_numpy(zero_copy_only=False)
    mask[ordered.column("ordinal").to_numpy()[last]] = True
    return mask


def same_dimensions(sources: Sequence[RowSource]) -> int:
    """The dimensions that all sources have. Raises MismatchError if they differ."""
    found = sorted({source.dimensions for source in sources})
    if len(found) != 1:
        raise MismatchError(f"vectors of different lengths cannot be merged: {found}")
    return found[0]


def chosen_rows(sources: Sequence[RowSource], mask: Mask) -> Iterator[pa.RecordBatch]:
    """The rows of all sources that `mask` chooses, in order; it has an entry for each of them, and may have more.

    Raises ConservationError if a chosen row is not among those of the sources.
    """
    position = 0
    for source in sources:
        for batch in source.batches():
            wanted = mask[position : position + batch.num_rows]
            position += batch.num_rows
            if wanted.any():
                yield batch if wanted.all() else batch.filter(pa.array(wanted))
    if position > len(mask) or mask[position:].any():
        raise ConservationError(f"{len(mask)} ids gave {position} rows")


def fold(sources: Sequence[RowSource], path: Path) -> int:
    """Write the winners of `sources` to an Arrow file at `path`; return how many rows it has.

    Reads each source twice, the first time its keys alone; vectors pass through one record batch at a time.
    Raises MismatchError for vectors of different lengths, ConservationError if an id got lost.
    """
    schema = row_schema(same_dimensions(sources))
    keys = keys_of(sources)
    chosen = winners(keys)
    with RowWriter(path, schema) as writer:
        writer.write_all(chosen_rows(sources, chosen))
    distinct = pc.count_distinct(keys.column("id")).as_py() if keys.num_rows else 0
    if writer.count != distinct:
        raise ConservationError(f"folding {distinct} ids gave {writer.count} rows")
    return writer.count
