"""Replacing and adding records in a Chroma directory without Chroma's own slow path: rows by SQL, links by faiss.

For directories that are closed and flushed, with a `fingerprint` that was tried. What was written is searched and
changed by Chroma on a private copy before it is published (`Trial`): searches must find as much as before, and the
new records themselves.

UnsuitableError is raised where Chroma has to make the changes; the directory is then to be thrown away.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from embedding_assets.chroma.collection import DATABASE_FILE, Space, open_collection
from embedding_assets.chroma.direct_rows import change_rows
from embedding_assets.chroma.direct_writer import LEAST_RECALL, parameters_of, refuse_unfit, refuse_unknown
from embedding_assets.chroma.graph_files import find_graph
from embedding_assets.chroma.graph_growth import New, grow
from embedding_assets.chroma.projection import Matrix
from embedding_assets.chroma.recall import TOLERANCE, exact_answers, recall_of
from embedding_assets.chroma.self_check import self_check
from embedding_assets.errors import UnsuitableError
from embedding_assets.rows.arrow import vectors_of

FORGIVEN = 0.03
"""How much less than in the base searches may find: other queries are asked, and inserts by Chroma lose more."""
FOUND_AGAIN = 0.98
"""Share of the new records that a search by their own vector must find."""
LOOKED_FOR = 256


def change_directly(
    directory: Path, collection: str, space: Space, gone: Sequence[str], batches: Iterable[pa.RecordBatch]
) -> Matrix:
    """Take `gone` out and write `batches`, whose ids are not there then; some of the new vectors.

    Raises UnsuitableError, DamagedError for files that are not whole, OSError, MemoryError.
    """
    refuse_unfit()
    refuse_unknown(directory / DATABASE_FILE)
    parameters = parameters_of(directory, collection, space)
    graph = find_graph(directory)
    if graph is None:
        raise UnsuitableError("Chroma's graph has another layout")
    new = [batch for batch in batches if batch.num_rows]
    if not new:
        raise UnsuitableError("nothing is added")
    ids = [one for batch in new for one in batch.column("id").to_pylist()]
    vectors: Matrix = np.ascontiguousarray(np.concatenate([vectors_of(batch) for batch in new]), dtype=np.float32)
    try:
        change_rows(directory / DATABASE_FILE, gone, new)
    except sqlite3.Error as error:
        raise UnsuitableError(f"SQLite failed: {error}") from error
    grow(graph, parameters, gone, New(ids, vectors))
    return vectors[np.unique(np.linspace(0, len(vectors) - 1, LOOKED_FOR).astype(np.int64))]


class Trial:
    """What Chroma must be able to do with a copy of the changed directory; `recall` is what was measured."""

    def __init__(self, collection: str, space: Space, before: float | None, new: Matrix) -> None:
        self._collection = collection
        self._space = space
        self._least = min(LEAST_RECALL, 1.0 if before is None else before - FORGIVEN)
        self._new = new
        self.recall: float | None = None

    def __call__(self, copy: Path) -> Iterator[str]:
        """What is wrong, one line each."""
        graph = find_graph(copy)
        exact = exact_answers(graph, self._space) if graph is not None else None
        if exact is None:
            yield "the changed version has no graph of the known layout"
            return
        with open_collection(copy, self._collection) as opened:
            self.recall = recall_of(opened, exact)
            again = self._found_again(opened)
        if self.recall < self._least:
            yield f"searches find {self.recall:.3f} of the nearest records, not {self._least:.3f}"
        elif again < FOUND_AGAIN:
            yield f"searches find {again:.3f} of the new records"
        else:
            yield from self_check(copy, self._collection, exact, self.recall)

    def _found_again(self, opened: Any) -> float:
        """The share of the new vectors that a search finds at their own place."""
        if self._space == "ip":
            return 1.0
        found = opened.query(query_embeddings=self._new, n_results=1, include=["distances"])["distances"]
        near = np.array([one[0] for one in found]) <= TOLERANCE * (1 + (self._new**2).sum(axis=1))
        return float(near.mean())
