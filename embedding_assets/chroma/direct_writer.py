"""Writing a new Chroma directory without Chroma's own slow path: rows by bulk SQL, the graph's links by faiss.

Promise: the tables and files are those that Chroma itself would have left, but for the shape of the graph, which
is by chance in both. Chroma makes the directory, the collection and the first records, those that bring each
metadata key and type for the first time, so that all it keeps beside the rows is its own. Everything else here
rests on the layout of the tables, so it is done for a `fingerprint` that was tried alone, and what was written is
opened, searched and changed by Chroma on a private copy before it is published (`self_check`).

The gate: searches must find LEAST_RECALL of the nearest records. The cheapest way to build the links that finds as
much is taken, or the best projection if it finds ENOUGH; else the whole vectors are tried with Chroma's own
parameters, and the way that finds most is taken.

UnsuitableError is raised where Chroma has to write the version itself; the directory is then to be thrown away.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from embedding_assets.chroma.collection import (
    DATABASE_FILE,
    DOCUMENT_KEY,
    ChromaRows,
    ChromaWriter,
    Space,
    open_collection,
)
from embedding_assets.chroma.direct_graph import WHOLE, DirectGraph, GraphParameters, Rung
from embedding_assets.chroma.direct_rows import NUL, parsed_metadata, write_rows
from embedding_assets.chroma.graph_files import GraphFiles, find_graph
from embedding_assets.chroma.projection import Matrix
from embedding_assets.chroma.recall import Exact, exact_answers, recall_in
from embedding_assets.errors import UnsuitableError
from embedding_assets.rows.arrow import regrouped, vectors_of

TRIED = frozenset({"0515f63bb4ede06c0d65d38a00f963c52ceb08e1a4be289ac0af6644cc90be53"})
"""Fingerprints of the databases that this was tried with: chromadb 1.5.9."""

MOST_SEEDS = 5_000
"""Records that Chroma writes first. More of them bring a new metadata key only where keys are data."""

Batches = Callable[[], Iterable[pa.RecordBatch]]


LEAST_RECALL = 0.99
"""From here on a search finds enough; the cheapest way that does is taken."""
ENOUGH = 0.98
"""What the best projection must find, so that whole vectors are not tried: they cost much and find little more."""
LEAST_OF_ALL = 0.5
"""Below it something is wrong, whatever the vectors are: Chroma is to write the version itself."""


@dataclass(frozen=True)
class DirectlyWritten:
    """How the links were built, and the share of the nearest records that searches as broad as Chroma's find."""

    rung: Rung
    recall: float
    exact: Exact


def write_directly(
    directory: Path, collection: str, space: Space, batches: Batches, check: Callable[[], None]
) -> DirectlyWritten:
    """Write the rows of `batches`, each id once, to a new directory; it is closed and flushed then.

    `batches` is called several times and gives the same rows in the same order. `check` is called often and
    raises if the work became pointless; what ends the writing of rows ends the building of the graph too.
    Raises UnsuitableError, and OSError, MemoryError or DamagedError if there is no room.
    """
    refuse_unfit()
    seeds, count = _seeds(batches())
    with ChromaWriter(directory, collection, space, len(seeds.ids)) as writer:
        writer.add(seeds)
    database = directory / DATABASE_FILE
    refuse_unknown(database)
    graph = find_graph(directory)
    if graph is None:
        raise UnsuitableError("Chroma's graph has another layout")
    seeded = set(seeds.ids)
    given_up = threading.Event()

    def others() -> Iterator[pa.RecordBatch]:
        for batch in batches():
            check()
            if given_up.is_set():
                raise UnsuitableError("the rows could not be written")
            ids = batch.column("id").to_pylist()
            fresh = np.array([record_id not in seeded for record_id in ids], dtype=np.bool_)
            yield batch if fresh.all() else batch.filter(pa.array(fresh))

    drawn = DirectGraph(graph, parameters_of(directory, collection, space), int(seeds.vectors.shape[1]), count)
    vectors = (vectors_of(batch) for batch in regrouped(others()))
    with ThreadPoolExecutor(1) as pool:
        building = pool.submit(_write_graph, drawn, chain([seeds.vectors], vectors), check)
        try:
            ids = write_rows(database, seeds.ids, others())
            linked = building.result()
        except sqlite3.Error as error:
            raise UnsuitableError(f"SQLite failed: {error}") from error
        finally:
            given_up.set()
    drawn.write_ids(ids)
    return _linked(directory, collection, space, drawn, check, linked)


def _write_graph(drawn: DirectGraph, vectors: Iterable[Matrix], check: Callable[[], None]) -> Rung:
    """Write the vectors and link them in the cheapest way that may do, which it returns."""
    drawn.write_vectors(vectors)
    check()
    rung = next(drawn.rungs())
    _link(drawn, rung)
    return rung


def _linked(
    directory: Path,
    collection: str,
    space: Space,
    drawn: DirectGraph,
    check: Callable[[], None],
    linked: Rung,
) -> DirectlyWritten:
    """Build the links in the cheapest way whose searches find enough; `linked` is how they are built already."""
    exact: Exact | None = None
    tried: list[DirectlyWritten] = []
    for rung in drawn.rungs():
        if rung == WHOLE and tried and max(one.recall for one in tried) >= ENOUGH:
            break
        check()
        if rung != linked:
            _link(drawn, rung)
        exact = exact or _exact(directory, space)
        tried.append(DirectlyWritten(rung, recall_in(directory, collection, exact), exact))
        if tried[-1].recall >= LEAST_RECALL:
            return tried[-1]
    best = max(tried, key=lambda one: one.recall)
    if best.recall < LEAST_OF_ALL:
        raise UnsuitableError(f"searches find only {best.recall:.3f} of the nearest records")
    if best is not tried[-1]:
        _link(drawn, best.rung)
    return best


def _link(drawn: DirectGraph, rung: Rung) -> None:
    try:
        drawn.link(rung)
    except RuntimeError as error:
        raise UnsuitableError(f"faiss failed: {error}") from error


def _exact(directory: Path, space: Space) -> Exact:
    graph: GraphFiles | None = find_graph(directory)
    exact = exact_answers(graph, space) if graph is not None else None
    assert exact is not None, "the graph was just written"
    return exact


def refuse_unfit() -> None:
    """Raise UnsuitableError if this machine cannot write directly, whatever the records."""
    try:
        import faiss  # noqa: F401
    except ImportError as error:
        raise UnsuitableError(f"faiss cannot be loaded: {error}") from error
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute("CREATE VIRTUAL TABLE probe USING fts5(text, tokenize='trigram')")
        except sqlite3.OperationalError as error:
            raise UnsuitableError(f"Python's SQLite cannot write Chroma's text search: {error}") from error


def _seeds(batches: Iterable[pa.RecordBatch]) -> tuple[ChromaRows, int]:
    """The first records that bring each metadata key with each type, and a document; how many there are in all."""
    count = 0
    seen: set[tuple[str, str]] = set()
    chosen: list[pa.RecordBatch] = []
    for batch in batches:
        count += batch.num_rows
        fresh: list[int] = []
        columns = (batch.column(name).to_pylist() for name in ("document", "metadata"))
        for number, (document, metadata) in enumerate(zip(*columns, strict=True)):
            kinds = {(key, _kind(value)) for key, value in parsed_metadata(metadata).items()}
            if document is not None:
                if NUL in document:
                    raise UnsuitableError("a document has a NUL, which SQLites do not all index alike")
                kinds.add((DOCUMENT_KEY, "str"))
            if not kinds <= seen or not (seen or chosen or fresh):
                seen |= kinds
                fresh.append(number)
        if fresh:
            chosen.append(batch.take(pa.array(fresh)))
        if sum(part.num_rows for part in chosen) > MOST_SEEDS:
            raise UnsuitableError(f"more than {MOST_SEEDS:,} records bring a metadata key for the first time")
    if not chosen:
        raise UnsuitableError("there is no record")
    table = pa.Table.from_batches(chosen).combine_chunks().to_batches()[0]
    seeds = ChromaRows(
        ids=table.column("id").to_pylist(),
        vectors=vectors_of(table),
        documents=table.column("document").to_pylist(),
        metadata=[parsed_metadata(text) or None for text in table.column("metadata").to_pylist()],
    )
    return seeds, count


def _kind(value: object) -> str:
    """Type of a metadata value; for a list with that of its elements, which are alike."""
    return f"list of {type(value[0]).__name__}" if isinstance(value, list) else type(value).__name__


def fingerprint(database: Path) -> str:
    """A hash over the schema and the migrations of Chroma's database, as hex."""
    with closing(sqlite3.connect(database)) as connection:
        schema = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name")
        parts: list[Any] = schema.fetchall()
        parts += connection.execute("SELECT dir, version, hash FROM migrations ORDER BY dir, version").fetchall()
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()


def refuse_unknown(database: Path) -> None:
    found = fingerprint(database)
    if found not in TRIED:
        raise UnsuitableError(f"Chroma's database has a schema that was not tried ({found[:12]})")


def parameters_of(directory: Path, collection: str, space: Space) -> GraphParameters:
    with open_collection(directory, collection) as opened:
        hnsw: Any = opened.configuration["hnsw"]
        if hnsw["space"] != space:
            raise UnsuitableError(f"the collection has the distance {hnsw['space']}")
        return GraphParameters(space, hnsw["max_neighbors"], hnsw["ef_construction"])
