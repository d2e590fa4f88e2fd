"""The record index of a version: for each record its hash and where it came from, without its vector.

It tells what is unchanged without opening Chroma, lets a later submission win whatever the order of ingestion,
and gives the content digest. A record that was deleted stays as a tombstone: `hash` is null. `metadata` is the
canonical JSON that was sent: Chroma gives back about one float in seven a last bit off (chromadb 1.5.9).
`text_sha256` tells what was embedded: the same text of another record needs no request of its own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedding_assets.errors import DamagedError
from embedding_assets.rows.arrow import INSTANT, ROWS_AT_ONCE, RowFile, RowWriter, with_text_hashes
from embedding_assets.rows.record import content_digest

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("hash", pa.binary(32)),
        pa.field("batch_id", pa.string(), nullable=False),
        pa.field("precedence_at", INSTANT, nullable=False),
        pa.field("input_sha256", pa.string()),
        pa.field("text_sha256", pa.binary(32)),
        pa.field("metadata", pa.large_string()),
    ]
)

COLUMNS = tuple(SCHEMA.names)
CARRIED = ("hash", "input_sha256", "text_sha256", "metadata")
"""Columns that the index takes from the rows, beside those that decide which row wins."""


def read_index(path: Path) -> pa.Table:
    """A version's record index, in order of the UTF-8 bytes of the ids. DamagedError if it is none."""
    try:
        batches = [with_text_hashes(batch).select(COLUMNS) for batch in RowFile(path).batches()]
        return pa.Table.from_batches(batches, schema=SCHEMA).combine_chunks()
    except (KeyError, pa.ArrowInvalid, OSError) as error:
        raise DamagedError(f"{path.name} is not a record index: {' '.join(str(error).split())}") from error


def empty_index() -> pa.Table:
    """The index of a database that has no version yet."""
    return SCHEMA.empty_table()


def write_index(table: pa.Table, path: Path) -> None:
    """Write an index; equal indexes give equal bytes."""
    ordered = sort_index(table)
    with RowWriter(path, SCHEMA, compressed=True) as writer:
        for batch in ordered.combine_chunks().to_batches(max_chunksize=ROWS_AT_ONCE * 64):
            writer.write(batch)


def sort_index(table: pa.Table) -> pa.Table:
    """The index in order of the UTF-8 bytes of the ids, which is Arrow's order of text."""
    return table.select(COLUMNS).cast(SCHEMA).sort_by("id")


def alive(table: pa.Table) -> pa.Table:
    """The records that are published: all but the tombstones."""
    return table.filter(pc.is_valid(table.column("hash")))


def digest_of(table: pa.Table) -> str:
    """The content digest of an index in id order."""
    return content_digest(alive(table).column("hash").to_pylist())


def positions(table: pa.Table) -> dict[str, int]:
    """Row number by id."""
    return {record_id: number for number, record_id in enumerate(table.column("id").to_pylist())}


def sample(ids: list[str], size: int, seed: int) -> list[str]:
    """At most `size` of the ids, the same ones for the same seed."""
    if len(ids) <= size:
        return ids
    chosen = np.random.default_rng(seed).choice(len(ids), size=size, replace=False)
    return [ids[number] for number in sorted(chosen)]
