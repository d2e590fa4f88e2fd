"""The graph alone, as a first merge writes it: vectors and links of a directory that has no rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.measure import Cost, measured
from benchmarks.records import Records
from embedding_assets.chroma.collection import ChromaRows, ChromaWriter
from embedding_assets.chroma.direct_graph import DirectGraph
from embedding_assets.chroma.direct_writer import parameters_of
from embedding_assets.chroma.graph_files import find_graph
from embedding_assets.databases import LINES

ROWS_AT_ONCE = 1_024


def build(records: Records, folder: Path) -> Cost:
    """The cost of writing the vectors and of building and writing the links in the cheapest way that may do."""
    count, dimensions = records.vectors.shape
    directory = folder / "graph"
    with ChromaWriter(directory, LINES.collection, LINES.space, 1) as writer:
        writer.add(ChromaRows([records.ids[0]], records.vectors[:1], [records.documents[0]], [None]))
    files = find_graph(directory)
    if files is None:
        raise SystemExit("Chroma's graph has another layout")
    drawn = DirectGraph(files, parameters_of(directory, LINES.collection, LINES.space), dimensions, count)
    with measured() as cost:
        drawn.write_vectors(np.split(records.vectors, range(ROWS_AT_ONCE, count, ROWS_AT_ONCE)))
        drawn.link(next(drawn.rungs()))
    return cost
