"""How many of the nearest records a search in Chroma's files finds, against looking at every vector."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embedding_assets.chroma.collection import Collection, Space, open_collection
from embedding_assets.chroma.graph_files import GraphFiles, find_graph

QUERIES = 256
NEAREST = 10
SEED = 0
TOLERANCE = 1e-4
"""How far two ways to compute one distance may lie apart, of the distance and of 1."""

Matrix = np.ndarray[tuple[int, int], np.dtype[np.float32]]


@dataclass(frozen=True)
class Exact:
    """Queries, `(n, dim) float32`, and for each how far its `nearest`-th record is, `(n,) float32`.

    Queries are mixtures of two records, so that none is in the index.
    """

    queries: Matrix
    nearest: int
    farthest: np.ndarray[tuple[int], np.dtype[np.float32]]

    def part(self, queries: int) -> Exact:
        """The first `queries` of them."""
        return Exact(self.queries[:queries], self.nearest, self.farthest[:queries])

    def share_in(self, found: list[list[float]]) -> float:
        """The share of the nearest records, by distance, in what searches `found` for the queries."""
        limits = self.farthest + TOLERANCE * (1 + np.abs(self.farthest))
        near = [
            sum(distance <= limit for distance in one[: self.nearest])
            for one, limit in zip(found, limits, strict=True)
        ]
        return float(sum(near)) / (self.nearest * len(self.queries))


def exact_answers(graph: GraphFiles, space: Space, queries: int = QUERIES) -> Exact | None:
    """Look at every vector of a graph; None if it has none. Memory is a block of vectors beside the queries."""
    alive = len(graph.ids)
    if not alive:
        return None
    asked = _mixtures(graph, min(queries, alive), alive)
    nearest = min(NEAREST, alive)
    best = np.empty((len(asked), 0), dtype=np.float32)
    lengths = (asked**2).sum(axis=1)[:, None]
    for _, vectors in graph.vectors():
        products = asked @ vectors.T
        away = 1 - products if space == "ip" else lengths - 2 * products + (vectors**2).sum(axis=1)
        best = np.concatenate([best, away], axis=1)
        best = np.partition(best, nearest - 1, axis=1)[:, :nearest]
    return Exact(asked, nearest, best.max(axis=1))


def distances_found(opened: Collection, exact: Exact) -> list[list[float]]:
    """How far away the records are that Chroma finds for each query, with its own breadth of search."""
    search: Any = opened.query
    found: list[list[float]] = search(
        query_embeddings=exact.queries, n_results=exact.nearest, include=["distances"]
    )["distances"]
    return found


def recall_of(opened: Collection, exact: Exact) -> float:
    """The share of the nearest records that Chroma finds."""
    return exact.share_in(distances_found(opened, exact))


def recall_in(directory: Path, collection: str, exact: Exact) -> float:
    """The recall in a closed directory, on a private copy: a search changes Chroma's files."""
    with tempfile.TemporaryDirectory(prefix="embedding-assets-recall-") as name:
        copy = Path(name) / "copy"
        shutil.copytree(directory, copy)
        with open_collection(copy, collection) as opened:
            return recall_of(opened, exact)


def measure_recall(copy: Path, collection: str, space: Space, queries: int = QUERIES) -> float | None:
    """The recall in a private copy of a directory; None if it has no graph of the layout that is known here."""
    graph = find_graph(copy)
    exact = exact_answers(graph, space, queries) if graph is not None else None
    if exact is None:
        return None
    with open_collection(copy, collection) as opened:
        return recall_of(opened, exact)


def _mixtures(graph: GraphFiles, count: int, alive: int) -> Matrix:
    """One of a record and half of another, as long as the first; the same ones for the same graph."""
    chosen = np.random.default_rng(SEED).integers(0, alive, size=(2, count))
    wanted = np.unique(chosen)
    found: list[Matrix] = []
    place = 0
    for ids, vectors in graph.vectors():
        here = wanted[(wanted >= place) & (wanted < place + len(ids))] - place
        found.append(vectors[here])
        place += len(ids)
    rows = np.concatenate(found)
    first, second = (rows[np.searchsorted(wanted, one)] for one in chosen)
    mixed = first + second / 2
    lengths, wanted_lengths = (np.linalg.norm(one, axis=1, keepdims=True) for one in (mixed, first))
    scaled = mixed * np.divide(wanted_lengths, lengths, out=np.ones_like(lengths), where=lengths > 0)
    return np.ascontiguousarray(scaled, dtype=np.float32)
