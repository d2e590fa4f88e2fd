"""A version as one Parquet file, for everything that reads no Chroma."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from embedding_assets.bucket.store import Store
from embedding_assets.errors import InputError
from embedding_assets.rows.arrow import ROWS_AT_ONCE, row_schema
from embedding_assets.rows.record_index import read_index
from embedding_assets.versions.manifest import INDEX_FILE, VersionManifest
from embedding_assets.versions.published_rows import published_rows
from embedding_assets.versions.reader import OnBytes, pull

COLUMNS = ("id", "vector", "document", "metadata", "batch_id")


def export(
    store: Store,
    manifest: VersionManifest,
    path: Path,
    *,
    overwrite: bool = False,
    progress: OnBytes = lambda size: None,
) -> int:
    """Write every record of a version to `path`; return how many there are. The file appears whole or not at all.

    Columns: `id`, `vector` (fixed-size list of float32; absent for a version without records), `document`,
    `metadata` (JSON text as it was sent), `batch_id`. Raises InputError if the file is there already, unless
    `overwrite`, and DamagedError or DamagedVersionError if a record is not what the version says.
    """
    if path.exists() and not overwrite:
        raise InputError(f"{path} is there already; --force replaces it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    os.close(descriptor)
    partial = Path(name)
    try:
        with tempfile.TemporaryDirectory(prefix="embedding-assets-export-") as folder:
            directory = Path(folder) / "version"
            pull(store, manifest, directory, progress)
            index = read_index(directory / INDEX_FILE)
            sources = published_rows(directory, manifest, index, Path(folder) / "rows.arrow")
            batches = [batch for source in sources for batch in source.batches()]
            written = _write(partial, batches)
        partial.chmod(0o644)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return written


def _write(path: Path, batches: list[pa.RecordBatch]) -> int:
    """The batches are read through the page cache, one at a time."""
    of_rows = row_schema(1) if not batches else batches[0].schema
    names = [name for name in COLUMNS if batches or name != "vector"]
    schema = pa.schema([of_rows.field(name) for name in names])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch.select(names), row_group_size=ROWS_AT_ONCE * 16)
    return sum(batch.num_rows for batch in batches)
