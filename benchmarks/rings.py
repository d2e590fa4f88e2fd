"""What large groups of equal vectors cost a search, with links that look around and without.

`python -m benchmarks.rings [--count 27000] [--dimensions 1536]` writes whole directories, links on 128 directions,
and searches them through Chroma: recall@10 of 256 mixtures of two records, and milliseconds a query, taken singly.
*receipts* are `benchmarks/records.py`. *repeats* are harder: more latent dimensions, with a decaying spectrum, and
repeated texts have bit-equal vectors.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from benchmarks.records import SHIFT, SPREAD, TEXTS, TOPICS, Records, Vectors, make_records
from embedding_assets.chroma import direct_graph, graph_links
from embedding_assets.chroma.collection import open_collection
from embedding_assets.chroma.direct_writer import write_directly
from embedding_assets.chroma.graph_files import find_graph
from embedding_assets.chroma.recall import exact_answers, recall_of
from embedding_assets.databases import LINES
from embedding_assets.rows.arrow import delta_batch
from embedding_assets.rows.record import metadata_json

LATENT = 512
DECAY = 16
ROWS_AT_ONCE = 1_024
WAYS = {"without": 10**9, "looking around": graph_links.LARGE}
"""From how many equal vectors on a group looks around."""


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=27_000)
    parser.add_argument("--dimensions", type=int, default=1_536)
    options = parser.parse_args()
    vars(direct_graph)["RUNGS"] = direct_graph.RUNGS[:1]
    kinds: dict[str, Callable[[int, int], Records]] = {"receipts": make_records, "repeats": repeats}
    table = Table("records", "groups", "recall@10", "ms a query, median")
    for name, make in kinds.items():
        records = make(options.count, options.dimensions)
        for way, large in WAYS.items():
            vars(graph_links)["LARGE"] = large
            recall, milliseconds = measure(records)
            table.add_row(name, way, f"{recall:.3f}", f"{milliseconds:.1f}")
    Console().print(table)


def measure(records: Records) -> tuple[float, float]:
    """Recall@10 of mixtures, and the median of milliseconds that a query takes."""
    with tempfile.TemporaryDirectory(prefix="embedding-assets-benchmark-") as folder:
        directory = Path(folder) / "index"
        write_directly(directory, LINES.collection, LINES.space, lambda: batches(records), lambda: None)
        graph = find_graph(directory)
        exact = exact_answers(graph, LINES.space) if graph is not None else None
        if exact is None:
            raise SystemExit("Chroma's graph has another layout")
        with open_collection(directory, LINES.collection) as opened:
            recall = recall_of(opened, exact)
            search: Any = opened.query
            taken = []
            for query in exact.queries:
                started = time.perf_counter()
                search(query_embeddings=query[None], n_results=exact.nearest, include=["distances"])
                taken.append(time.perf_counter() - started)
    return recall, 1000 * statistics.median(taken)


def batches(records: Records) -> list[pa.RecordBatch]:
    """The records as rows of deltas."""
    found = []
    for start in range(0, len(records.ids), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        metadata = [metadata_json(one) for one in records.metadata[part]]
        rows = (records.ids[part], records.vectors[part], records.documents[part], metadata)
        found.append(delta_batch(*rows, [None] * len(metadata)))
    return found


def repeats(count: int, dimensions: int) -> Records:
    """Records as frequent as those of receipts, with the vectors of hard texts; equal texts have equal ones."""
    drawn = np.random.default_rng(1)
    weights = 1 / (np.arange(TEXTS) + SHIFT)
    texts = drawn.choice(TEXTS, count, p=weights / weights.sum())
    spectrum = (1 / np.sqrt(1 + np.arange(LATENT) / DECAY)).astype(np.float32)
    topics = drawn.standard_normal((TOPICS, LATENT), dtype=np.float32)
    turn = drawn.standard_normal((LATENT, dimensions), dtype=np.float32)
    own = drawn.standard_normal((TEXTS, LATENT), dtype=np.float32)
    points = (topics[np.arange(TEXTS) % TOPICS] + SPREAD * own) * spectrum
    vectors: Vectors = (points @ turn)[texts]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return replace(make_records(count, 8), vectors=vectors)


if __name__ == "__main__":
    main()
