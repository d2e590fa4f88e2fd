"""How much of what is truly nearest an index finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.records import Records, Vectors
from embedding_assets.databases import LINES
from embedding_assets.snapshots.chroma import open_collection

QUERIES = 200
NEAREST = 10


def queries_of(records: Records) -> Vectors:
    """Vectors near some of the records, none of them one."""
    drawn = np.random.default_rng(7)
    chosen = drawn.choice(len(records.ids), QUERIES, replace=False)
    dimensions = records.vectors.shape[1]
    moved = records.vectors[chosen] + 0.3 / np.sqrt(dimensions) * drawn.standard_normal((QUERIES, dimensions))
    queries: Vectors = moved.astype(np.float32)
    return queries


def true_ids(records: Records, queries: Vectors) -> list[set[str]]:
    """The ids of the nearest by brute force."""
    squared = (records.vectors**2).sum(axis=1) - 2 * queries @ records.vectors.T
    nearest = np.argpartition(squared, NEAREST, axis=1)[:, :NEAREST]
    return [{records.ids[number] for number in row} for row in nearest]


def chroma_recall(directory: Path, records: Records) -> float:
    """recall@10 of a Chroma directory, searched as an application does. Its files change."""
    queries = queries_of(records)
    with open_collection(directory, LINES.collection) as opened:
        found: Any = opened.query(query_embeddings=queries, n_results=NEAREST)["ids"]
    return _recall(found, true_ids(records, queries))


def floor_recall(index_file: Path, records: Records) -> float:
    """recall@10 of hnswlib's own file, searched with Chroma's width."""
    import hnswlib

    queries = queries_of(records)
    index: Any = hnswlib.Index("l2", records.vectors.shape[1])
    index.load_index(str(index_file))
    index.set_ef(100)
    labels, _ = index.knn_query(queries, k=NEAREST)
    return _recall([[records.ids[label] for label in row] for row in labels], true_ids(records, queries))


def _recall(found: list[list[str]], wanted: list[set[str]]) -> float:
    hits = sum(len(set(one) & truth) for one, truth in zip(found, wanted, strict=True))
    return round(hits / (NEAREST * len(wanted)), 4)
