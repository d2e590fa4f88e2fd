"""Writing a new Chroma directory without Chroma's own slow path: rows by bulk SQL, the graph by hnswlib.

Promise: the tables and files are those that Chroma itself would have left, but for the shape of the graph, which
is by chance in both. Chroma makes the directory, the collection and the first records, those that bring each
metadata key and type for the first time, so that all it keeps beside the rows is its own. Everything else here
rests on the layout of the tables, so it is done for a `fingerprint` that was tried alone, and what was written is
opened, searched and changed by Chroma on a private copy before it is published (`self_check`).

UnsuitableError is raised where Chroma has to write the version itself; the directory is then to be thrown away.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pickle
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson
import pyarrow as pa

from embedding_assets.errors import DamagedError, UnsuitableError
from embedding_assets.snapshots.chroma import (
    DATABASE_FILE,
    DOCUMENT_KEY,
    ChromaRows,
    ChromaWriter,
    Space,
    open_collection,
)
from embedding_assets.snapshots.graph_files import (
    ELEMENTS_FILE,
    FORMAT,
    HEADER,
    HEADER_FILE,
    IDS_FILE,
    LENGTHS_FILE,
    LINKS_FILE,
    GraphFiles,
    find_graph,
)
from embedding_assets.snapshots.rows import regrouped, vectors_of

TRIED = frozenset({"0515f63bb4ede06c0d65d38a00f963c52ceb08e1a4be289ac0af6644cc90be53"})
"""Fingerprints of the databases that this was tried with: chromadb 1.5.9."""

QUERIES = 64
NEAREST = 10
BLOCK = 2**20
CACHE_KILOBYTES = 100_000
METADATA_INDEXES = """
    SELECT name, sql FROM sqlite_master
    WHERE type = 'index' AND tbl_name = 'embedding_metadata' AND sql IS NOT NULL
"""
"""Made anew after the rows are written, which is faster than keeping them up to date."""
LENGTH_SIZE = 4
PICKLE_PROTOCOL = 3
"""Chroma's own."""

COLUMN_OF: dict[type, int] = {str: 0, int: 1, float: 2, bool: 3}
"""Place of a metadata value among string_value, int_value, float_value, bool_value."""

Batches = Callable[[], Iterable[pa.RecordBatch]]
Matrix = np.ndarray[tuple[int, int], np.dtype[np.float32]]


@dataclass(frozen=True)
class Answers:
    """What hnswlib found in the graph that it built: Chroma must find the same in the files.

    `queries` is `(n, dim) float32`, `distances` `(n, k) float32`, nearest first.
    """

    queries: Matrix
    distances: Matrix


@dataclass(frozen=True)
class _Graph:
    """Parameters of the graph, as Chroma has them in the collection's configuration."""

    space: Space
    links: int
    construction: int
    search: int


def installed() -> bool:
    """Whether hnswlib is there: it is an optional extra."""
    return importlib.util.find_spec("hnswlib") is not None


def write_directly(
    directory: Path, collection: str, space: Space, batches: Batches, check: Callable[[], None]
) -> Answers:
    """Write the rows of `batches`, each id once, to a new directory; it is closed and flushed then.

    `batches` is called several times and gives the same rows in the same order. `check` is called often and
    raises where the work became pointless. Raises UnsuitableError, and DamagedError for a full disk.
    """
    _refuse_without_hnswlib()
    seeds = _seeds(batches())
    with ChromaWriter(directory, collection, space, len(seeds.ids)) as writer:
        writer.add(seeds)
    database = directory / DATABASE_FILE
    _refuse_unknown(database)
    graph = find_graph(directory)
    if graph is None:
        raise UnsuitableError("Chroma's graph has another layout")
    seeded = set(seeds.ids)

    def others() -> Iterator[pa.RecordBatch]:
        for batch in batches():
            check()
            ids = batch.column("id").to_pylist()
            fresh = np.array([record_id not in seeded for record_id in ids], dtype=np.bool_)
            yield batch if fresh.all() else batch.filter(pa.array(fresh))

    parameters = _parameters(directory, collection, space)
    with ThreadPoolExecutor(1) as pool:
        building = pool.submit(_write_graph, graph, parameters, seeds.vectors, lambda: regrouped(others()))
        try:
            ids = _write_rows(database, seeds, others())
            answers = building.result()
        except (sqlite3.Error, RuntimeError) as error:
            raise UnsuitableError(f"SQLite or hnswlib failed: {error}") from error
    _write_ids(graph.folder / IDS_FILE, ids)
    return answers


def _refuse_without_hnswlib() -> None:
    if not installed():
        raise UnsuitableError("hnswlib is not installed")
    try:
        import hnswlib  # noqa: F401
    except ImportError as error:
        raise UnsuitableError(f"hnswlib cannot be loaded: {error}") from error


def _seeds(batches: Iterable[pa.RecordBatch]) -> ChromaRows:
    """The first records that bring each metadata key with each type, and a document."""
    seen: set[tuple[str, type]] = set()
    chosen: list[pa.RecordBatch] = []
    for batch in batches:
        fresh: list[int] = []
        columns = (batch.column(name).to_pylist() for name in ("document", "metadata"))
        for number, (document, metadata) in enumerate(zip(*columns, strict=True)):
            kinds = {(key, type(value)) for key, value in _parsed(metadata).items()}
            if document is not None:
                kinds.add((DOCUMENT_KEY, str))
            if not kinds <= seen or not (seen or chosen or fresh):
                seen |= kinds
                fresh.append(number)
        if fresh:
            chosen.append(batch.take(pa.array(fresh)))
    if any(kind is list for _, kind in seen):
        raise UnsuitableError("a record has a list in its metadata")
    if not chosen:
        raise UnsuitableError("there is no record")
    table = pa.Table.from_batches(chosen).combine_chunks().to_batches()[0]
    return ChromaRows(
        ids=table.column("id").to_pylist(),
        vectors=vectors_of(table),
        documents=table.column("document").to_pylist(),
        metadata=[_parsed(text) or None for text in table.column("metadata").to_pylist()],
    )


def _parsed(metadata: str | None) -> dict[str, Any]:
    return {} if metadata is None else orjson.loads(metadata)


def fingerprint(database: Path) -> str:
    """A hash over the schema and the migrations of Chroma's database, as hex."""
    with closing(sqlite3.connect(database)) as connection:
        schema = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name")
        parts: list[Any] = schema.fetchall()
        parts += connection.execute("SELECT dir, version, hash FROM migrations ORDER BY dir, version").fetchall()
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()


def _refuse_unknown(database: Path) -> None:
    found = fingerprint(database)
    if found not in TRIED:
        raise UnsuitableError(f"Chroma's database has a schema that was not tried ({found[:12]})")
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute("CREATE VIRTUAL TABLE probe USING fts5(text, tokenize='trigram')")
        except sqlite3.OperationalError as error:
            raise UnsuitableError(f"Python's SQLite cannot write Chroma's text search: {error}") from error


def _parameters(directory: Path, collection: str, space: Space) -> _Graph:
    with open_collection(directory, collection) as opened:
        hnsw: Any = opened.configuration["hnsw"]
        if hnsw["space"] != space:
            raise UnsuitableError(f"the collection has the distance {hnsw['space']}")
        return _Graph(space, hnsw["max_neighbors"], hnsw["ef_construction"], hnsw["ef_search"])


def _write_graph(graph: GraphFiles, parameters: _Graph, seeds: Matrix, batches: Batches) -> Answers:
    """Build the graph in memory with all processors and write its files over those of the seeds."""
    import hnswlib

    count = len(seeds) + sum(batch.num_rows for batch in batches())
    dimensions = int(seeds.shape[1])
    index: Any = hnswlib.Index(parameters.space, dimensions)
    index.init_index(count, M=parameters.links, ef_construction=parameters.construction)
    index.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    index.set_ef(parameters.search)
    index.add_items(seeds, np.arange(1, len(seeds) + 1))
    kept = [seeds[:1]]
    label = len(seeds) + 1
    every = max(1, count // QUERIES)
    for batch in batches():
        vectors = vectors_of(batch)
        index.add_items(vectors, np.arange(label, label + len(vectors)))
        kept.append(vectors[-label % every :: every].copy())
        label += len(vectors)
    queries = np.concatenate(kept)[:QUERIES]
    _, distances = index.knn_query(queries, k=min(NEAREST, count))
    saved = graph.folder / "index.bin"
    index.save_index(str(saved))
    del index
    _slice(saved, graph.folder)
    return Answers(queries, distances)


def _slice(saved: Path, folder: Path) -> None:
    """hnswlib's one file as Chroma's four."""
    with saved.open("rb") as source:
        header = source.read(HEADER.size)
        if len(header) != HEADER.size:
            raise DamagedError("the disk took less of the graph than there is")
        count, element_size = HEADER.unpack(header)[2:4]
        (folder / HEADER_FILE).write_bytes(FORMAT.pack(1) + header)
        with (folder / ELEMENTS_FILE).open("wb") as sink:
            _copy(source, sink, count * element_size)
        with (folder / LINKS_FILE).open("wb") as sink:
            shutil.copyfileobj(source, sink, BLOCK)
    (folder / LENGTHS_FILE).write_bytes(bytes(LENGTH_SIZE * count))
    saved.unlink()


def _copy(source: BinaryIO, sink: BinaryIO, size: int) -> None:
    """Raises DamagedError where there is less: hnswlib does not say when the disk is full."""
    while size:
        block = source.read(min(size, BLOCK))
        if not block:
            raise DamagedError("the disk took less of the graph than there is")
        sink.write(block)
        size -= len(block)


def _write_rows(database: Path, seeds: ChromaRows, batches: Iterable[pa.RecordBatch]) -> list[str]:
    """Write all rows behind those of the seeds; every id in the order of its label."""
    ids = list(seeds.ids)
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


def _write_batch(connection: sqlite3.Connection, segment: str, first: int, batch: pa.RecordBatch) -> None:
    columns = (batch.column(name).to_pylist() for name in ("id", "document", "metadata"))
    rows, values, texts = [], [], []
    for number, (record_id, document, metadata) in enumerate(zip(*columns, strict=True), first):
        rows.append((number, segment, record_id, number))
        values += [(number, *_stored(key, value)) for key, value in _parsed(metadata).items()]
        if document is not None:
            values.append((number, *_stored(DOCUMENT_KEY, document)))
            texts.append((number, document))
    connection.executemany(
        "INSERT INTO embeddings (id, segment_id, embedding_id, seq_id) VALUES (?, ?, ?, ?)", rows
    )
    connection.executemany(
        "INSERT INTO embedding_metadata (id, key, string_value, int_value, float_value, bool_value)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        values,
    )
    connection.executemany("INSERT INTO embedding_fulltext_search (rowid, string_value) VALUES (?, ?)", texts)


def _stored(key: str, value: object) -> tuple[object, ...]:
    place = COLUMN_OF[type(value)]
    return key, *(value if number == place else None for number in range(len(COLUMN_OF)))


def _write_newest(connection: sqlite3.Connection, number: int, batch: pa.RecordBatch) -> None:
    """Leave the newest record in the queue, as Chroma does: from an empty one it would begin to count anew."""
    newest = batch.slice(batch.num_rows - 1)
    metadata = _parsed(newest.column("metadata")[0].as_py())
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


def _write_ids(path: Path, ids: Sequence[str]) -> None:
    """Labels count from 1, like the rows."""
    told = {
        "dimensionality": None,
        "total_elements_added": len(ids),
        "max_seq_id": None,
        "id_to_label": {record_id: label for label, record_id in enumerate(ids, 1)},
        "label_to_id": dict(enumerate(ids, 1)),
        "id_to_seq_id": {},
    }
    path.write_bytes(pickle.dumps(told, protocol=PICKLE_PROTOCOL))
