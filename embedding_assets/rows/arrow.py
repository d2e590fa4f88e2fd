"""Rows: records with their vectors as Arrow IPC files, read through the page cache and never held whole.

A row's columns are those of `row_schema`. The last three say where a record came from and decide which of
two records with one id wins: the greatest `(precedence_at, batch_id)`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa

from embedding_assets.errors import DamagedError
from embedding_assets.rows.record import record_hash

ROWS_AT_ONCE = 1024
"""Rows of one record batch: 6 MB of 1536-d vectors."""

PROVENANCE = ("batch_id", "precedence_at", "generation")

TEXT_HASH = "text_sha256"
"""Column with the hash of what was embedded, `record.text_sha256`: null if that is not known."""

INSTANT = pa.timestamp("us", tz="UTC")


Vector = np.ndarray[tuple[int], np.dtype[np.float32]]


@dataclass(frozen=True)
class Provenance:
    """Which batch and which generation of it delivered a row, and its precedence."""

    batch_id: str
    precedence_at: datetime
    generation: int


def row_schema(dimensions: int) -> pa.Schema:
    """Columns of a row; `vector` is `(n, dimensions) float32`, `metadata` canonical JSON, `hash` 32 bytes."""
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dimensions), nullable=False),
            pa.field("document", pa.large_string()),
            pa.field("metadata", pa.large_string()),
            pa.field("input_sha256", pa.string()),
            pa.field("text_sha256", pa.binary(32)),
            pa.field("hash", pa.binary(32), nullable=False),
            pa.field("batch_id", pa.string(), nullable=False),
            pa.field("precedence_at", INSTANT, nullable=False),
            pa.field("generation", pa.int64(), nullable=False),
        ]
    )


def delta_schema(dimensions: int) -> pa.Schema:
    """Columns of a delta: a row without its provenance, which belongs to the poll, not to the bytes."""
    schema = row_schema(dimensions)
    return pa.schema([field for field in schema if field.name not in PROVENANCE])


def delta_batch(
    ids: Sequence[str],
    vectors: np.ndarray[tuple[int, int], np.dtype[np.float32]],
    documents: Sequence[str | None],
    metadata: Sequence[str | None],
    input_hashes: Sequence[str | None],
    text_hashes: Sequence[bytes | None] | None = None,
) -> pa.RecordBatch:
    """Rows of a delta, with their hashes. `vectors` is `(len(ids), dim) float32`; `text_hashes` None: unknown."""
    little = np.ascontiguousarray(vectors, dtype="<f4")
    dimensions = int(little.shape[1])
    hashes = [
        record_hash(record_id, row.tobytes(), document, meta)
        for record_id, row, document, meta in zip(ids, little, documents, metadata, strict=True)
    ]
    columns = [
        pa.array(ids, pa.string()),
        vector_array(little),
        pa.array(documents, pa.large_string()),
        pa.array(metadata, pa.large_string()),
        pa.array(input_hashes, pa.string()),
        pa.array(text_hashes or [None] * len(ids), pa.binary(32)),
        pa.array(hashes, pa.binary(32)),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=delta_schema(dimensions))


def with_text_hashes(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Rows or an index that an older release wrote, with the column `text_sha256`, which it did not have yet."""
    if TEXT_HASH in batch.schema.names:
        return batch
    return batch.append_column(pa.field(TEXT_HASH, pa.binary(32)), pa.nulls(batch.num_rows, pa.binary(32)))


def vector_array(vectors: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> pa.Array:
    """`(n, dim) float32` as one Arrow column, without copying."""
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, int(vectors.shape[1]))


def vectors_of(batch: pa.RecordBatch) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """The `vector` column as `(n, dim) float32`."""
    column = batch.column("vector")
    flat = column.flatten().to_numpy(zero_copy_only=False)
    shaped: np.ndarray[tuple[int, int], np.dtype[np.float32]] = flat.reshape(batch.num_rows, column.type.list_size)
    return shaped


def regrouped(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of at least ROWS_AT_ONCE, but for the last; small ones are put together."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        if batch.num_rows:
            waiting.append(batch)
            rows += batch.num_rows
        if rows >= ROWS_AT_ONCE:
            yield _together(waiting)
            waiting, rows = [], 0
    if waiting:
        yield _together(waiting)


def _together(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)


class RowWriter:
    """Writes record batches of one schema to an Arrow IPC file. A context manager; counts its rows.

    `compressed` columns (zstd, as Arrow's format has it) suit text and hashes, not vectors.
    """

    def __init__(self, path: Path, schema: pa.Schema, *, compressed: bool = False) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.schema = schema
        self._sink = pa.OSFile(str(path), "wb")
        options = pa.ipc.IpcWriteOptions(compression="zstd" if compressed else None)
        self._writer = pa.ipc.new_file(self._sink, schema, options=options)
        self.count = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows; an empty batch is left out."""
        if batch.num_rows:
            self._writer.write_batch(batch)
            self.count += batch.num_rows

    def write_all(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Append the rows of many batches, small ones put together: a reader pays for each batch."""
        for batch in regrouped(batches):
            self.write(batch)

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        self._sink.close()


class RowFile:
    """An Arrow IPC file of rows: memory-mapped, or `data`, its bytes. Raises DamagedError if it is none."""

    def __init__(self, path: Path, data: bytes | None = None) -> None:
        self.path = path
        try:
            self._reader = pa.ipc.open_file(pa.memory_map(str(path)) if data is None else pa.BufferReader(data))
        except (pa.ArrowInvalid, OSError) as error:
            raise DamagedError(f"{path.name} is not an Arrow IPC file: {error}") from error
        self.schema: pa.Schema = self._reader.schema

    @property
    def dimensions(self) -> int | None:
        """Length of the vectors, or None for a file that carries none."""
        if "vector" not in self.schema.names:
            return None
        kind = self.schema.field("vector").type
        if not pa.types.is_fixed_size_list(kind) or kind.value_type != pa.float32():
            raise DamagedError(f"{self.path.name}: vector must be a fixed-size list of float32, not {kind}")
        return int(kind.list_size)

    @property
    def count(self) -> int:
        """How many rows the file has."""
        return sum(self._reader.get_batch(index).num_rows for index in range(self._reader.num_record_batches))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Record batches in file order, each of at most ROWS_AT_ONCE rows."""
        for index in range(self._reader.num_record_batches):
            batch = self._reader.get_batch(index)
            for start in range(0, batch.num_rows, ROWS_AT_ONCE):
                yield batch.slice(start, ROWS_AT_ONCE)
