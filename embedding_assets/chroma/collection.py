"""Chroma directories: opened only as private copies, closed and flushed before anyone reads their files.

Facts about chromadb that this module rests on (tried with 1.5.9): clients are cached by path, so a path is
used once; `close()` leaves operations below `sync_threshold` unflushed in SQLite's queue; an upsert merges
metadata key by key, and after a deletion it may lose the vector: so a record is replaced by deleting and adding.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import chromadb
import numpy as np
from chromadb.api.models.Collection import Collection as Collection
from chromadb.errors import ChromaError as ChromaError

from embedding_assets.chroma.client import opened_client
from embedding_assets.errors import DamagedError, InputError, MismatchError

CHROMA_VERSION = chromadb.__version__
"""The version of chromadb that writes and reads here."""

ROWS_AT_ONCE = 5000
"""Below the 5,461 rows that one upsert and the 32,766 that one get may have."""

DEFAULT_SYNC_THRESHOLD = 1000
"""Chroma's own, restored before a directory is published."""

VACUUM_ABOVE = 0.2
"""Share of free pages from which the SQLite file is rewritten: the queue held every vector for a while."""

DATABASE_FILE = "chroma.sqlite3"

DOCUMENT_KEY = "chroma:document"
"""Under which Chroma keeps a document among the metadata."""

Space = Literal["l2", "ip"]
Vectors = np.ndarray[tuple[int, int], np.dtype[np.float32]]


@dataclass(frozen=True)
class ChromaRows:
    """Rows as Chroma gives them back; `vectors` is `(n, dim) float32`, in the order of `ids`."""

    ids: list[str]
    vectors: Vectors
    documents: list[str | None]
    metadata: list[dict[str, Any] | None]


@contextmanager
def open_collection(directory: Path, name: str | None) -> Iterator[Collection]:
    """The collection `name` of a private copy; without a name (or such a one) the only one there is."""
    with opened_client(directory) as client:
        try:
            names = [collection.name for collection in client.list_collections()]
            if name not in names:
                if len(names) != 1:
                    raise DamagedError(f"the snapshot has the collections {names}, not {name!r}")
                name = names[0]
            yield client.get_collection(name, embedding_function=None)
        except ChromaError as error:
            raise DamagedError(f"Chroma cannot read the snapshot: {' '.join(str(error).split())}") from error


def choose_collection(directory: Path, name: str | None) -> str:
    """The collection `name` of a private copy, or the only one. InputError, naming all, if there is none."""
    try:
        with opened_client(directory) as client:
            names = sorted(collection.name for collection in client.list_collections())
    except (DamagedError, ChromaError) as error:
        raise InputError(f"it is no Chroma directory that can be read: {' '.join(str(error).split())}") from error
    if name in names:
        return name
    if name is None and len(names) == 1:
        return names[0]
    there = ", ".join(names) or "none"
    wanted = "--collection chooses one" if name is None else f"there is no {name!r}"
    raise InputError(f"it has the collections {there}: {wanted}")


@contextmanager
def refused_filter(where: dict[str, Any] | None) -> Iterator[None]:
    """Raise InputError if a query in the block fails for its filter of metadata; without one, as it was."""
    try:
        yield
    except (ChromaError, ValueError, TypeError) as error:
        if where is None:
            raise
        raise InputError(f"where is no filter that Chroma takes: {' '.join(str(error).split())}") from error


def refuse_cosine(collection: Collection) -> None:
    """Raise MismatchError for a collection under cosine: Chroma has changed the vectors in it."""
    space = (collection.configuration.get("hnsw") or {}).get("space")
    if space == "cosine":
        raise MismatchError("the delta's collection has the distance cosine: its vectors are not those delivered")


def read_rows(collection: Collection, ids: Sequence[str] | None = None) -> Iterator[ChromaRows]:
    """All rows, or those with the given ids, page by page. A page has the order of Chroma's choosing."""
    if ids is not None:
        for start in range(0, len(ids), ROWS_AT_ONCE):
            yield _page(collection, {"ids": list(ids[start : start + ROWS_AT_ONCE])})
        return
    offset = 0
    while True:
        page = _page(collection, {"limit": ROWS_AT_ONCE, "offset": offset})
        if not page.ids:
            return
        yield page
        offset += len(page.ids)


def read_texts(collection: Collection, ids: Sequence[str]) -> Iterator[ChromaRows]:
    """The rows with the given ids, page by page, without their vectors: those have no columns."""
    for start in range(0, len(ids), ROWS_AT_ONCE):
        yield _page(collection, {"ids": list(ids[start : start + ROWS_AT_ONCE])}, with_vectors=False)


def _page(collection: Collection, what: dict[str, Any], *, with_vectors: bool = True) -> ChromaRows:
    found = collection.get(
        include=["embeddings", "documents", "metadatas"] if with_vectors else ["documents", "metadatas"], **what
    )
    vectors = np.asarray(found["embeddings"] if with_vectors else [], dtype=np.float32)
    if vectors.ndim != 2:
        vectors = np.zeros((len(found["ids"]), 0), dtype=np.float32)
    documents: list[str | None] = [*(found["documents"] or [])]
    metadata: list[dict[str, Any] | None] = [
        None if entry is None else dict(entry) for entry in found["metadatas"] or []
    ]
    return ChromaRows(found["ids"], vectors, documents, metadata)


def all_ids(collection: Collection, at_once: int = ROWS_AT_ONCE) -> Iterator[str]:
    """Every id, without vectors."""
    offset = 0
    while True:
        ids = collection.get(include=[], limit=min(at_once, ROWS_AT_ONCE), offset=offset)["ids"]
        if not ids:
            return
        yield from ids
        offset += len(ids)


class ChromaWriter:
    """Applies operations to a Chroma directory; leaving it without an error leaves it closed, flushed, compact.

    `operations` is how many rows will be deleted or written in all: Chroma then writes its graph once.
    `dimensions` is the vectors' length where that is known before any is written.
    """

    def __init__(
        self, directory: Path, collection: str, space: Space, operations: int, dimensions: int | None = None
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._name = collection
        threshold = max(DEFAULT_SYNC_THRESHOLD, operations)
        with opened_client(directory) as client:
            if any(entry.name == collection for entry in client.list_collections()):
                existing = client.get_collection(collection, embedding_function=None)
                existing.modify(configuration={"hnsw": {"sync_threshold": threshold}})
            else:
                client.create_collection(
                    collection,
                    embedding_function=None,
                    configuration={"hnsw": {"space": space, "sync_threshold": threshold}},
                )
        self._stack = ExitStack()
        self._collection = self._stack.enter_context(open_collection(directory, collection))
        self._dimensions = dimensions

    def __enter__(self) -> ChromaWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        if error is None:
            self._finish()

    def delete(self, ids: Sequence[str]) -> None:
        """Remove rows."""
        for start in range(0, len(ids), ROWS_AT_ONCE):
            self._collection.delete(ids=list(ids[start : start + ROWS_AT_ONCE]))

    def add(self, rows: ChromaRows) -> None:
        """Write rows whose ids are not there."""
        self._dimensions = int(rows.vectors.shape[1])
        for start in range(0, len(rows.ids), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            add: Any = self._collection.add
            add(
                ids=rows.ids[part],
                embeddings=rows.vectors[part],
                documents=rows.documents[part],
                metadatas=rows.metadata[part],
            )

    def replace(self, rows: ChromaRows) -> None:
        """Write rows over those with the same ids: afterwards nothing of the old ones is left.

        Never by an update: one that follows a deletion leaves the old vector in the graph beside the new one, and
        which of the two is there after the next opening is chance (chromadb 1.5.9).
        """
        self.delete(rows.ids)
        self.add(rows)

    def amend(self, ids: Sequence[str], metadata: Sequence[dict[str, Any]]) -> None:
        """Change the metadata of rows, and neither their vectors nor their documents: the graph stays as it is.

        A key stays where `metadata` does not name it; one whose value is None is taken away.
        """
        update: Any = self._collection.update
        for start in range(0, len(ids), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            update(ids=list(ids[part]), metadatas=list(metadata[part]))

    def _finish(self) -> None:
        """Flush the tail of the queue into the graph, restore Chroma's own threshold, compact."""
        if self._dimensions is not None:
            self._set_threshold(1)
            with open_collection(self._directory, self._name) as collection:
                origin = np.zeros((1, self._dimensions), dtype=np.float32)
                collection.query(query_embeddings=origin, n_results=1)
        self._set_threshold(DEFAULT_SYNC_THRESHOLD)
        _compact(self._directory / DATABASE_FILE)

    def _set_threshold(self, value: int) -> None:
        with open_collection(self._directory, self._name) as collection:
            collection.modify(configuration={"hnsw": {"sync_threshold": value}})


def _compact(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        free = connection.execute("PRAGMA freelist_count").fetchone()[0]
        if pages and free / pages > VACUUM_ABOVE:
            connection.execute("VACUUM")


def quick_check(directory: Path) -> str | None:
    """SQLite's own word on the file: None if it is sound, else what is wrong."""
    with closing(sqlite3.connect(directory / DATABASE_FILE)) as connection:
        try:
            answer = connection.execute("PRAGMA quick_check").fetchone()[0]
        except sqlite3.DatabaseError as error:
            return str(error)
    return None if answer == "ok" else str(answer)
