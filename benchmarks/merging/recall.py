"""How much of what is truly nearest an index finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.records import Records, Vectors
from embedding_assets.chroma.collection import open_collection
from embedding_assets.databases import LINES

QUERIES = 200
NEAREST = 10
SEARCH = 100
"""Chroma's own width."""
TIES = 1e-3
"""How much farther, as a share, a hit may lie to count as equally near: answers to one text differ a little."""


def queries_of(records: Records) -> Vectors:
    """Vectors near some of the records, none of them one."""
    drawn = np.random.default_rng(7)
    chosen = drawn.choice(len(records.ids), QUERIES, replace=False)
    dimensions = records.vectors.shape[1]
    moved = records.vectors[chosen] + 0.3 / np.sqrt(dimensions) * drawn.standard_normal((QUERIES, dimensions))
    queries: Vectors = moved.astype(np.float32)
    return queries


def chroma_recall(directory: Path, records: Records) -> float:
    """recall@10 of a Chroma directory, searched as an application does. Its files change."""
    queries = queries_of(records)
    with open_collection(directory, LINES.collection) as opened:
        found: Any = opened.query(query_embeddings=queries, n_results=NEAREST)["ids"]
    place = {record_id: number for number, record_id in enumerate(records.ids)}
    return _recall([[place[record_id] for record_id in row] for row in found], records, queries)


def floor_recall(index_file: Path, records: Records) -> float:
    """recall@10 of hnswlib's own file, searched with Chroma's width."""
    import hnswlib

    queries = queries_of(records)
    index: Any = hnswlib.Index("l2", records.vectors.shape[1])
    index.load_index(str(index_file))
    index.set_ef(SEARCH)
    labels, _ = index.knn_query(queries, k=NEAREST)
    return _recall(labels.tolist(), records, queries)


def _recall(found: list[list[int]], records: Records, queries: Vectors) -> float:
    """The share of hits that lie no farther than the tenth nearest by brute force; copies of it count as it."""
    squared = (
        (queries**2).sum(axis=1)[:, None] + (records.vectors**2).sum(axis=1) - 2 * queries @ records.vectors.T
    )
    farthest = np.partition(squared, NEAREST - 1, axis=1)[:, NEAREST - 1]
    reached = np.take_along_axis(squared, np.array(found), axis=1)
    return round(float((reached <= farthest[:, None] * (1 + TIES)).mean()), 4)
