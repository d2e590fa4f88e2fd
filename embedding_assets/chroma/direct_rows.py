"""The rows of a new Chroma directory, written in bulk behind those that Chroma has written itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from embedding_assets.chroma.collection import DOCUMENT_KEY
from embedding_assets.errors import DamagedError, UnsuitableError
from embedding_assets.rows.arrow import vectors_of

NUL = "\0"
CACHE_KILOBYTES = 100_000
METADATA_INDEXES = """
    SELECT name, sql FROM sqlite_master
    WHERE type = 'index' AND tbl_name IN ('embedding_metadata', 'embedding_metadata_array') AND sql IS NOT NULL
"""
"""Made again after the rows are written, which is faster than keeping them up to date."""

COLUMN_OF: dict[type, int] = {str: 0, int: 1, float: 2, bool: 3}
"""Place of a metadata value among string_value, int_value, float_value, bool_value."""


SCHEMA_NAMES = {str: "string", int: "int", float: "float", bool: "bool"}
"""How Chroma's schema of a collection names them."""


def write_rows(database: Path, seeds: Sequence[str], batches: Iterable[pa.RecordBatch]) -> list[str]:
    """Write `batches` behind the rows of `seeds`, which are there; every id in the order of its label.

    Raises sqlite3.Error.
    """
    ids = list(seeds)
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(f"PRAGMA cache_size = {-CACHE_KILOBYTES}")
        connection.execute("BEGIN")
        indexes = connection.execute(METADATA_INDEXES).fetchall()
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}")
        segments = dict(connection.execute("SELECT scope, id FROM segments").fetchall())
        last = None
        for batch in batches:
            if batch.num_rows:
                _write_batch(connection, segments["METADATA"], len(ids) + 1, batch)
                ids += batch.column("id").to_pylist()
                last = batch
        if last is not None:
            connection.execute("UPDATE max_seq_id SET seq_id = ?", (len(ids),))
            _write_newest(connection, len(ids), last)
        for _, statement in indexes:
            connection.execute(statement)
        connection.execute("COMMIT")
    return ids


def change_rows(database: Path, gone: Sequence[str], batches: Iterable[pa.RecordBatch]) -> None:
    """Take the rows of `gone` out and write `batches`, whose ids are not there then, as Chroma would.

    Raises UnsuitableError if Chroma has not flushed all, or does not know a metadata key of one type or another;
    sqlite3.Error.
    """
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(f"PRAGMA cache_size = {-CACHE_KILOBYTES}")
        connection.execute("BEGIN")
        segment, newest = _flushed(connection)
        known = _known_keys(connection)
        _take_out(connection, segment, gone)
        (left,) = connection.execute("SELECT coalesce(max(id), 0) FROM embeddings").fetchone()
        ahead = newest + len(gone) - left
        written = None
        for batch in batches:
            if batch.num_rows:
                _refuse_unknown_keys(batch, known)
                _write_batch(connection, segment, left + 1, batch, ahead)
                left += batch.num_rows
                written = batch
        if written is None:
            raise UnsuitableError("nothing is added")
        connection.execute("UPDATE max_seq_id SET seq_id = ?", (left + ahead,))
        _write_newest(connection, left + ahead, written)
        connection.execute("COMMIT")


def _flushed(connection: sqlite3.Connection) -> tuple[str, int]:
    """The segment of the rows and the newest place in the log, which both segments and the queue have reached."""
    segments = dict(connection.execute("SELECT scope, id FROM segments").fetchall())
    reached = {one for (one,) in connection.execute("SELECT seq_id FROM max_seq_id")}
    queued = connection.execute("SELECT seq_id FROM embeddings_queue").fetchall()
    if len(segments) != 2 or len(reached) != 1 or {one for (one,) in queued} != reached:
        raise UnsuitableError("Chroma has not flushed all, or has more than one collection")
    return segments["METADATA"], int(reached.pop())


def _known_keys(connection: sqlite3.Connection) -> dict[str, set[str]]:
    """Types of each metadata key that Chroma has seen."""
    found = connection.execute("SELECT schema_str FROM collections").fetchall()
    keys = orjson.loads(found[0][0])["keys"] if len(found) == 1 else {}
    return {key: set(types) for key, types in keys.items()}


def _refuse_unknown_keys(batch: pa.RecordBatch, known: dict[str, set[str]]) -> None:
    for text in batch.column("metadata").to_pylist():
        for key, value in parsed_metadata(text).items():
            if isinstance(value, list) or SCHEMA_NAMES[type(value)] not in known.get(key, ()):
                raise UnsuitableError("a metadata key is new to Chroma, or has a list")
    for document in batch.column("document").to_pylist():
        if document is not None and NUL in document:
            raise UnsuitableError("a document has a NUL, which SQLites do not all index alike")


def _take_out(connection: sqlite3.Connection, segment: str, gone: Sequence[str]) -> None:
    connection.execute("CREATE TEMP TABLE gone (id INTEGER PRIMARY KEY)")
    connection.executemany(
        "INSERT INTO gone SELECT id FROM embeddings WHERE segment_id = ? AND embedding_id = ?",
        ((segment, one) for one in gone),
    )
    if connection.execute("SELECT count(*) FROM gone").fetchone() != (len(gone),):
        raise DamagedError("Chroma has no row for a record that is published")
    for table, key in (
        ("embedding_fulltext_search", "rowid"),
        ("embedding_metadata", "id"),
        ("embedding_metadata_array", "id"),
        ("embeddings", "id"),
    ):
        connection.execute(f"DELETE FROM {table} WHERE {key} IN (SELECT id FROM gone)")
    connection.execute("DROP TABLE gone")


def parsed_metadata(metadata: str | None) -> dict[str, Any]:
    """Canonical JSON as a dictionary; an empty one without any."""
    return {} if metadata is None else orjson.loads(metadata)


def _write_batch(
    connection: sqlite3.Connection, segment: str, first: int, batch: pa.RecordBatch, ahead: int = 0
) -> None:
    """Write rows whose keys count from `first`; each one's place in the log is `ahead` of its key."""
    columns = (batch.column(name).to_pylist() for name in ("id", "document", "metadata"))
    rows, values, elements, texts = [], [], [], []
    for number, (record_id, document, metadata) in enumerate(zip(*columns, strict=True), first):
        rows.append((number, segment, record_id, number + ahead))
        for key, value in parsed_metadata(metadata).items():
            if isinstance(value, list):
                elements += [(number, *_stored(key, element)) for element in value]
            else:
                values.append((number, *_stored(key, value)))
        if document is not None:
            values.append((number, *_stored(DOCUMENT_KEY, document)))
            texts.append((number, document))
    connection.executemany(
        "INSERT INTO embeddings (id, segment_id, embedding_id, seq_id) VALUES (?, ?, ?, ?)", rows
    )
    for table, stored in (("embedding_metadata", values), ("embedding_metadata_array", elements)):
        connection.executemany(
            f"INSERT INTO {table} (id, key, string_value, int_value, float_value, bool_value)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            stored,
        )
    connection.executemany("INSERT INTO embedding_fulltext_search (rowid, string_value) VALUES (?, ?)", texts)


def _stored(key: str, value: object) -> tuple[object, ...]:
    columns: list[object] = [None] * len(COLUMN_OF)
    columns[COLUMN_OF[type(value)]] = value
    return key, *columns


def _write_newest(connection: sqlite3.Connection, number: int, batch: pa.RecordBatch) -> None:
    """Leave the newest record in the queue, as Chroma does: from an empty one it would begin to count again."""
    newest = batch.slice(batch.num_rows - 1)
    metadata = parsed_metadata(newest.column("metadata")[0].as_py())
    document = newest.column("document")[0].as_py()
    if document is not None:
        metadata[DOCUMENT_KEY] = document
    (topic,) = connection.execute("SELECT topic FROM embeddings_queue").fetchone()
    connection.execute("DELETE FROM embeddings_queue")
    connection.execute(
        "INSERT INTO embeddings_queue (seq_id, operation, topic, id, vector, encoding, metadata)"
        " VALUES (?, 0, ?, ?, ?, 'FLOAT32', ?)",
        (
            number,
            topic,
            newest.column("id")[0].as_py(),
            vectors_of(newest).astype("<f4").tobytes(),
            orjson.dumps(metadata).decode(),
        ),
    )
