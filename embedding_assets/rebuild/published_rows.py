"""Every record of a published version as rows, with its vector: what a version is built from anew."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from embedding_assets.errors import DamagedVersionError
from embedding_assets.snapshots.chroma import open_collection, read_rows
from embedding_assets.snapshots.index import alive
from embedding_assets.snapshots.rows import (
    INSTANT,
    RowFile,
    RowWriter,
    delta_batch,
    row_schema,
)
from embedding_assets.snapshots.sources import RowSource
from embedding_assets.snapshots.versions import VersionManifest


def published_rows(directory: Path, manifest: VersionManifest, index: pa.Table, path: Path) -> list[RowSource]:
    """Write the rows of the version in `directory`, a private copy, to `path`; none for an empty version.

    Metadata is taken from the record index, for Chroma may give floats back a last bit off. Raises
    DamagedVersionError where a record is not what the index says.
    """
    published = alive(index).combine_chunks()
    if not published.num_rows or manifest.dimensions is None:
        return []
    with (
        open_collection(directory, manifest.collection) as collection,
        RowWriter(path, row_schema(manifest.dimensions)) as writer,
    ):
        for page in read_rows(collection):
            place = pc.index_in(pa.array(page.ids, pa.string()), value_set=published.column("id").combine_chunks())
            if place.null_count:
                raise DamagedVersionError(f"version {manifest.version} has records that its index does not have")
            known = published.take(place).combine_chunks()
            metadata, inputs = (known.column(name).to_pylist() for name in ("metadata", "input_sha256"))
            delta = delta_batch(page.ids, page.vectors, page.documents, metadata, inputs)
            if delta.column("hash").to_pylist() != known.column("hash").to_pylist():
                raise DamagedVersionError(f"version {manifest.version} has records that differ from its index")
            writer.write(
                pa.RecordBatch.from_arrays(
                    [
                        *delta.columns,
                        known.column("batch_id").combine_chunks(),
                        known.column("precedence_at").combine_chunks().cast(INSTANT),
                        pa.repeat(pa.scalar(0, pa.int64()), len(page.ids)),
                    ],
                    schema=row_schema(manifest.dimensions),
                )
            )
    if writer.count != published.num_rows:
        raise DamagedVersionError(
            f"version {manifest.version} has {writer.count} records, its index {published.num_rows}"
        )
    return [RowSource(RowFile(path), manifest.dimensions, None)]
