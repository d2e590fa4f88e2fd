"""Reading and writing a snapshot directory's rows, whichever of the two formats it has.

`arrow`: one file `records.arrow`. `chroma`: a Chroma directory with, beside it, `rows.arrow`: every column but
the vectors, because Chroma may give back a float of the metadata a last bit off. A Chroma directory of another
program has no such file: then Chroma's own documents and metadata count.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from chromadb.api.models.Collection import Collection

from embedding_assets.chroma.collection import (
    ChromaRows,
    ChromaWriter,
    open_collection,
    read_rows,
    refuse_cosine,
)
from embedding_assets.errors import DamagedError
from embedding_assets.rows.arrow import (
    INSTANT,
    PROVENANCE,
    Provenance,
    RowFile,
    RowWriter,
    delta_batch,
    row_schema,
    vector_array,
    vectors_of,
    with_text_hashes,
)
from embedding_assets.rows.record import checked_metadata, metadata_json, parse_metadata
from embedding_assets.rows.snapshot_directory import Format

ARROW_FILE = "records.arrow"
SIDECAR = "rows.arrow"
ONE_CHROMA = threading.Lock()
"""Directories are opened side by side, Chroma's one at a time: each holds the interpreter and its vectors."""

CHROMA_FILE = "chroma.sqlite3"


@dataclass(frozen=True)
class RowSource:
    """Rows with their provenance. `provenance` is given for a delta, whose own rows carry none."""

    file: RowFile
    dimensions: int
    provenance: Provenance | None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Record batches of `row_schema`, in file order; the same ones at every call."""
        schema = row_schema(self.dimensions)
        for batch in self.file.batches():
            complete = batch if "hash" in batch.schema.names else _hashed(batch)
            yield self._with_provenance(with_text_hashes(complete)).select(schema.names).cast(schema)

    def _with_provenance(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self.provenance is None:
            return batch
        values = (self.provenance.batch_id, self.provenance.precedence_at, self.provenance.generation)
        kinds = (pa.string(), INSTANT, pa.int64())
        for name, value, kind in zip(PROVENANCE, values, kinds, strict=True):
            batch = batch.append_column(name, pa.repeat(pa.scalar(value, kind), batch.num_rows))
        return batch


def _hashed(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Rows of a foreign Arrow delta, which has id, vector, document and metadata alone, as ours."""
    names = batch.schema.names
    ids = batch.column("id").to_pylist()
    absent = [None] * batch.num_rows
    documents = batch.column("document").to_pylist() if "document" in names else absent
    metadata = batch.column("metadata").to_pylist() if "metadata" in names else absent
    canonical = [metadata_json(checked_metadata(parse_metadata(text))) for text in metadata]
    return delta_batch(ids, vectors_of(batch), documents, canonical, absent)


def open_source(directory: Path, collection: str | None, provenance: Provenance | None) -> RowSource:
    """The rows of a local, private snapshot directory. Raises DamagedError if it is none."""
    if (directory / ARROW_FILE).exists():
        file = RowFile(directory / ARROW_FILE)
    elif (directory / CHROMA_FILE).exists():
        with ONE_CHROMA:
            file = RowFile(_from_chroma(directory, collection))
    else:
        raise DamagedError(f"{directory.name}: neither {ARROW_FILE} nor {CHROMA_FILE} is there")
    return source_of(file, provenance)


def source_of(file: RowFile, provenance: Provenance | None) -> RowSource:
    """The rows of a file. Raises DamagedError if they have no vectors."""
    if file.dimensions is None:
        raise DamagedError(f"{file.path}: the rows have no vectors")
    return RowSource(file, file.dimensions, provenance)


def _from_chroma(directory: Path, collection: str | None) -> Path:
    """Bring a Chroma directory's rows into an Arrow file beside it."""
    unpacked = directory.parent / f"{directory.name}.unpacked.arrow"
    with open_collection(directory, collection) as opened:
        refuse_cosine(opened)
        if (directory / SIDECAR).exists():
            sidecar = RowFile(directory / SIDECAR)
            batches = (_joined(batch, opened) for batch in sidecar.batches())
        else:
            batches = (_foreign(page) for page in read_rows(opened))
        first = next(batches, None)
        if first is None:
            raise DamagedError(f"{directory.name}: the collection is empty")
        with RowWriter(unpacked, first.schema) as writer:
            writer.write(first)
            for batch in batches:
                writer.write(batch)
    return unpacked


def _joined(batch: pa.RecordBatch, collection: Collection) -> pa.RecordBatch:
    ids = batch.column("id").to_pylist()
    found: dict[str, np.ndarray[tuple[int], np.dtype[np.float32]]] = {}
    for page in read_rows(collection, ids):
        found.update(zip(page.ids, page.vectors, strict=True))
    missing = [record_id for record_id in ids if record_id not in found]
    if missing:
        raise DamagedError(f"Chroma has no vector for {missing[0]!r}, which {SIDECAR} lists")
    vectors = np.stack([found[record_id] for record_id in ids])
    column = vector_array(vectors)
    position = 1
    return batch.add_column(position, pa.field("vector", column.type, nullable=False), column)


def _foreign(page: ChromaRows) -> pa.RecordBatch:
    metadata = [metadata_json(checked_metadata(entry)) for entry in page.metadata]
    return delta_batch(page.ids, page.vectors, page.documents, metadata, [None] * len(page.ids))


def pack(directory: Path, form: Format, collection: str) -> None:
    """Give a directory that holds `records.arrow` the format `form`, in place."""
    if form == "arrow":
        return
    arrow = directory / ARROW_FILE
    file = RowFile(arrow)
    kept = pa.schema([field for field in file.schema if field.name != "vector"])
    with (
        RowWriter(directory / SIDECAR, kept) as sidecar,
        ChromaWriter(directory, collection, "l2", operations=file.count) as chroma,
    ):
        for batch in file.batches():
            sidecar.write(batch.select(kept.names))
            chroma.add(chroma_rows(batch))
    arrow.unlink()


def chroma_rows(batch: pa.RecordBatch) -> ChromaRows:
    """Rows in the form that Chroma takes."""
    return ChromaRows(
        ids=batch.column("id").to_pylist(),
        vectors=vectors_of(batch),
        documents=batch.column("document").to_pylist(),
        metadata=[parse_metadata(text) for text in batch.column("metadata").to_pylist()],
    )
