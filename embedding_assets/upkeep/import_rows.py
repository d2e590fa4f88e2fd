"""The records of a Chroma directory from elsewhere, as rows: vectors, documents and metadata as they are there.

Chroma's native code follows what the files say, out of its memory if need be. So a process of its own reads them,
and one that ends with a signal is an error of one line.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from embedding_assets.chroma.collection import ChromaRows, choose_collection, open_collection, read_rows
from embedding_assets.chroma.foreign_database import check_database, check_graph
from embedding_assets.chroma.row_source import RowSource
from embedding_assets.errors import DamagedError, EmbeddingAssetsError, InputError
from embedding_assets.openai_batches.record_ids import usable_id
from embedding_assets.processes.apart import EndedError, Say, answer, answers
from embedding_assets.progress import Progress
from embedding_assets.rows.arrow import Provenance, RowFile, RowWriter, delta_batch
from embedding_assets.rows.record import checked_metadata, content_digest, input_sha256, metadata_json
from embedding_assets.submission.parts import EmbeddingModel

BEFORE_ALL = datetime(1970, 1, 1, tzinfo=UTC)
ROWS_FILE = "imported.arrow"
ROWS_A_LINE = 50_000
"""Records read between two lines of progress."""


@dataclass(frozen=True)
class ImportedRows:
    """All records of one collection; `name` stands for their batch and is a function of their content."""

    source: RowSource
    name: str
    count: int
    model: EmbeddingModel


@dataclass(frozen=True)
class ForeignIndex:
    """What is read: the private copy of a directory, its collection, and the model that made its vectors."""

    directory: Path
    collection: str | None
    model: EmbeddingModel


def read_imported(index: ForeignIndex, as_of: datetime | None, folder: Path, progress: Progress) -> ImportedRows:
    """Read a private copy in a process of its own; that one's memory is Chroma's index and one page.

    Without `as_of` the records are older than any submission, and newer than those of an earlier import. A record
    with a document counts as embedded from that text by the model: the same text is not sent again.

    Raises InputError if there is no such collection, if it is empty or damaged, or if one of its records is not
    allowed.
    """
    rows = folder / ROWS_FILE
    request = {
        "directory": str(index.directory),
        "collection": index.collection,
        "model": [index.model.model, index.model.dimensions],
        "rows": str(rows),
    }
    digest = ""
    try:
        for said in answers(__name__, request):
            if "error" in said:
                raise InputError(said["error"])
            digest = said.get("digest", "")
            if "progress" in said:
                progress(said["progress"])
    except EndedError as error:
        raise InputError(f"it cannot be read: the process that read it {error}") from None
    if not digest:
        raise InputError("it cannot be read: the process that read it said nothing of its end")
    return imported_rows(index, rows, digest, as_of)


def imported_rows(index: ForeignIndex, rows: Path, digest: str, as_of: datetime | None) -> ImportedRows:
    """The rows that `write_rows` wrote, as they count in a merge."""
    name = f"import-{digest[:12]}"
    file = RowFile(rows)
    provenance = Provenance(name, as_of or _older_than_any_submission(), 0)
    return ImportedRows(RowSource(file, file.dimensions or 0, provenance), name, file.count, index.model)


def write_rows(index: ForeignIndex, rows: Path, progress: Progress) -> str:
    """Write every record of the collection to the Arrow file `rows`; returns the digest of all.

    Raises InputError as `read_imported` does. Damage of some kinds ends the process.
    """
    check_database(index.directory)
    chosen = choose_collection(index.directory, index.collection)
    check_graph(index.directory, chosen)
    hashes: dict[str, bytes] = {}
    zeros = 0
    writer: RowWriter | None = None
    try:
        with ExitStack() as stack:
            opened = stack.enter_context(open_collection(index.directory, chosen))
            for page in read_rows(opened):
                batch = _delta(page, index.model)
                if writer is None:
                    writer = stack.enter_context(RowWriter(rows, batch.schema))
                if batch.schema != writer.schema:
                    raise InputError("the vectors have different lengths: nothing is imported")
                writer.write(batch)
                zeros += int(np.count_nonzero(~page.vectors.any(axis=1)))
                hashes.update(zip(page.ids, batch.column("hash").to_pylist(), strict=True))
                if len(hashes) != writer.count:
                    raise InputError("an id is there twice: nothing is imported")
                if writer.count % ROWS_A_LINE < len(page.ids):
                    progress(f"{writer.count:,} records read")
    except DamagedError as error:
        raise InputError(f"the collection {chosen!r} cannot be read: {error}") from error
    if zeros:
        progress(
            f"vectors of zeros, which searches find for any query: {zeros:,}; submit the texts of these records"
        )
    if writer is None:
        raise InputError(f"the collection {chosen!r} has no record: nothing is imported")
    return content_digest(hashes[record_id] for record_id in sorted(hashes, key=str.encode))


def _delta(page: ChromaRows, model: EmbeddingModel) -> pa.RecordBatch:
    if not len(page.ids) == len(page.vectors) == len(page.documents) == len(page.metadata):
        raise InputError("Chroma gives not as many vectors as records: nothing is imported")
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


def _work(request: Mapping[str, Any], say: Say) -> None:
    """What the child does."""
    index = ForeignIndex(Path(request["directory"]), request["collection"], EmbeddingModel(*request["model"]))
    try:
        digest = write_rows(index, Path(request["rows"]), lambda line: say({"progress": line}))
    except EmbeddingAssetsError as error:
        say({"error": str(error)})
        return
    say({"digest": digest})


if __name__ == "__main__":
    answer(_work)
