"""The records of a Chroma directory from elsewhere, as rows: vectors, documents and metadata as they are there."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from embedding_assets.chroma.collection import ChromaRows, choose_collection, open_collection, read_rows
from embedding_assets.chroma.row_source import RowSource
from embedding_assets.errors import DamagedError, InputError
from embedding_assets.openai_batches.record_ids import usable_id
from embedding_assets.progress import Progress
from embedding_assets.rows.arrow import Provenance, RowFile, RowWriter, delta_batch
from embedding_assets.rows.record import checked_metadata, content_digest, input_sha256, metadata_json
from embedding_assets.submission.parts import EmbeddingModel

BEFORE_ALL = datetime(1970, 1, 1, tzinfo=UTC)
ROWS_A_LINE = 50_000
"""Records read between two lines of progress."""


@dataclass(frozen=True)
class ImportedRows:
    """All records of one collection; `name` stands for their batch and is a function of their content."""

    source: RowSource
    name: str
    count: int
    model: EmbeddingModel


def read_imported(
    directory: Path,
    collection: str | None,
    model: EmbeddingModel,
    as_of: datetime | None,
    folder: Path,
    progress: Progress,
) -> ImportedRows:
    """Read a private copy; memory is that of Chroma's index and of one page.

    Without `as_of` the records are older than any submission, and newer than those of an earlier import. A record
    with a document counts as embedded from that text by `model`: the same text is not sent again.

    Raises InputError if there is no such collection, if it is empty, or if one of its records is not allowed.
    """
    chosen = choose_collection(directory, collection)
    rows = folder / "imported.arrow"
    hashes: dict[str, bytes] = {}
    zeros = 0
    try:
        with ExitStack() as stack:
            opened = stack.enter_context(open_collection(directory, chosen))
            writer: RowWriter | None = None
            for page in read_rows(opened):
                batch = _delta(page, model)
                if writer is None:
                    writer = stack.enter_context(RowWriter(rows, batch.schema))
                if batch.schema != writer.schema:
                    raise InputError("the vectors have different lengths: nothing is imported")
                writer.write(batch)
                zeros += int(np.count_nonzero(~page.vectors.any(axis=1)))
                hashes.update(zip(page.ids, batch.column("hash").to_pylist(), strict=True))
                if len(hashes) % ROWS_A_LINE < len(page.ids):
                    progress(f"{len(hashes):,} records read")
    except DamagedError as error:
        raise InputError(f"the collection {chosen!r} cannot be read: {error}") from error
    if zeros:
        progress(
            f"vectors of zeros, which searches find for any query: {zeros:,}; submit the texts of these records"
        )
    if writer is None:
        raise InputError(f"the collection {chosen!r} has no record: nothing is imported")
    digest = content_digest(hashes[record_id] for record_id in sorted(hashes, key=str.encode))
    name = f"import-{digest[:12]}"
    file = RowFile(rows)
    provenance = Provenance(name, as_of or _older_than_any_submission(), 0)
    return ImportedRows(RowSource(file, file.dimensions or 0, provenance), name, len(hashes), model)


def _delta(page: ChromaRows, model: EmbeddingModel) -> pa.RecordBatch:
    if page.vectors.shape[1] == 0 or not np.isfinite(page.vectors).all():
        raise InputError("a record has no vector, or one with NaN or an infinity: nothing is imported")
    metadata = []
    for record_id, value in zip(page.ids, page.metadata, strict=True):
        if usable_id(record_id) is None:
            raise InputError(f"the id {record_id[:64]!r} cannot be used: nothing is imported")
        try:
            metadata.append(metadata_json(checked_metadata(value)))
        except InputError as error:
            raise InputError(f"record {record_id[:64]!r}: {error}") from error
    inputs = [
        None if not text else input_sha256(text, text, described, model.model, model.dimensions)
        for text, described in zip(page.documents, metadata, strict=True)
    ]
    return delta_batch(page.ids, page.vectors, page.documents, metadata, inputs)


def _older_than_any_submission() -> datetime:
    """The seconds since 1970 as microseconds: before anything real, and later for a later import."""
    return BEFORE_ALL + timedelta(microseconds=int(datetime.now(UTC).timestamp()))
