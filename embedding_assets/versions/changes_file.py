"""What a version changed, as one Parquet file beside it, for owners of records who follow what is published.

Written before the pointer and named in the manifest. Columns: `id`, `change` (`added`, `updated`, `removed`,
`failed`, `unfinished`), `batch_id` (its batch), `code` (of what failed or is unfinished, else null). An id may be
there twice: failed in one batch and delivered by another. The later row is what holds.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from embedding_assets.bucket.keys import changes_key
from embedding_assets.bucket.store import Store
from embedding_assets.databases import Database
from embedding_assets.errors import DamagedError, DamagedVersionError, NotFoundError
from embedding_assets.rows.record_index import alive
from embedding_assets.versions.manifest import ChangesFile, VersionManifest

Change = Literal["added", "updated", "removed", "failed", "unfinished"]

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("change", pa.string(), nullable=False),
        pa.field("batch_id", pa.string()),
        pa.field("code", pa.string()),
    ]
)


@dataclass(frozen=True)
class RecordChange:
    """What became of one record in a version."""

    id: str
    change: Change
    batch_id: str | None
    code: str | None = None


def changed_records(before: pa.Table, after: pa.Table) -> pa.Table:
    """Rows of SCHEMA: how the records of one record index differ from those of another, in order of the ids."""
    old, new = alive(before), alive(after)
    place = pc.index_in(new.column("id"), value_set=old.column("id").combine_chunks())
    there = pc.is_valid(place)
    hashes = old.column("hash").take(pc.fill_null(place, 0)) if old.num_rows else None
    same = pc.fill_null(pc.equal(new.column("hash"), hashes), False) if hashes is not None else there
    added = _rows(new.filter(pc.invert(there)), "added")
    updated = _rows(new.filter(pc.and_(there, pc.invert(same))), "updated")
    gone = old.filter(pc.invert(pc.is_in(old.column("id"), new.column("id").combine_chunks())))
    tombstones = after.filter(pc.is_in(after.column("id"), gone.column("id").combine_chunks()))
    without = gone.filter(pc.invert(pc.is_in(gone.column("id"), tombstones.column("id").combine_chunks())))
    removed = [_rows(tombstones, "removed"), _rows(without, "removed")]
    return pa.concat_tables([added, updated, *removed]).sort_by("id")


def rows_of(changes: Iterable[RecordChange]) -> pa.Table:
    """The same as a table of SCHEMA."""
    listed = list(changes)
    columns = [[getattr(one, field.name) for one in listed] for field in SCHEMA]
    return pa.table([pa.array(column, pa.string()) for column in columns], schema=SCHEMA)


def write_changes(store: Store, database: Database, version: str, rows: pa.Table) -> ChangesFile:
    """Put the changes of a version, which is not published yet, into the bucket."""
    sink = io.BytesIO()
    pq.write_table(rows.cast(SCHEMA), sink, compression="zstd")
    data = sink.getvalue()
    key = changes_key(database, version)
    store.put(key, data, "application/vnd.apache.parquet")
    return ChangesFile(key=key, size=len(data), sha256=hashlib.sha256(data).hexdigest())


def read_changes(store: Store, manifest: VersionManifest) -> list[RecordChange]:
    """What a version changed, in the order in which it holds.

    Raises NotFoundError if the version is from before there were such files, or if its file is gone, and
    DamagedVersionError if the file is not the one that the manifest names.
    """
    file = manifest.changes
    if file is None:
        raise NotFoundError(f"version {manifest.version} of {manifest.database} does not say what it changed")
    try:
        data = store.get(file.key)
    except NotFoundError as error:
        raise NotFoundError(f"what version {manifest.version} of {manifest.database} changed is gone") from error
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise DamagedVersionError(f"{store.uri(file.key)} is not what version {manifest.version} says")
    try:
        rows = pq.read_table(io.BytesIO(data)).select(SCHEMA.names).to_pylist()
    except (pa.ArrowException, KeyError) as error:
        raise DamagedError(f"{store.uri(file.key)} is no file of changes") from error
    return [RecordChange(**row) for row in rows]


def _rows(table: pa.Table, change: Change) -> pa.Table:
    count = table.num_rows
    columns = [
        table.column("id"),
        pa.repeat(pa.scalar(change), count),
        table.column("batch_id"),
        pa.nulls(count, pa.string()),
    ]
    return pa.table(columns, schema=SCHEMA)
