"""The graph of a new Chroma directory, built by hnswlib with all processors and written as Chroma's files."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from embedding_assets.chroma.collection import Space
from embedding_assets.chroma.graph_files import (
    ELEMENTS_FILE,
    FORMAT,
    HEADER,
    HEADER_FILE,
    IDS_FILE,
    LENGTHS_FILE,
    LINKS_FILE,
    GraphFiles,
)
from embedding_assets.errors import DamagedError
from embedding_assets.rows.arrow import vectors_of

QUERIES = 64
NEAREST = 10
BLOCK = 2**20
LENGTH_SIZE = 4
PICKLE_PROTOCOL = 3
"""Chroma's own."""

Matrix = np.ndarray[tuple[int, int], np.dtype[np.float32]]


@dataclass(frozen=True)
class Answers:
    """What hnswlib found in the graph that it built: Chroma must find the same in the files.

    `queries` is `(n, dim) float32`, `distances` `(n, k) float32`, nearest first.
    """

    queries: Matrix
    distances: Matrix


@dataclass(frozen=True)
class GraphParameters:
    """Parameters of the graph, as Chroma has them in the collection's configuration."""

    space: Space
    links: int
    construction: int
    search: int


def write_graph(
    graph: GraphFiles, parameters: GraphParameters, seeds: Matrix, batches: Iterable[pa.RecordBatch], count: int
) -> Answers:
    """Build the graph in memory with all processors and write its files over those of the seeds.

    `batches` has the rows that follow the seeds, in the order of their labels; `count` is how many there are with
    the seeds. Raises DamagedError for a full disk, RuntimeError for what hnswlib refuses.
    """
    import hnswlib

    dimensions = int(seeds.shape[1])
    index: Any = hnswlib.Index(parameters.space, dimensions)
    index.init_index(count, M=parameters.links, ef_construction=parameters.construction)
    index.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    index.set_ef(parameters.search)
    index.add_items(seeds, np.arange(1, len(seeds) + 1))
    kept = [seeds[:1]]
    label = len(seeds) + 1
    every = max(1, count // QUERIES)
    for batch in batches:
        vectors = vectors_of(batch)
        index.add_items(vectors, np.arange(label, label + len(vectors)))
        kept.append(vectors[-label % every :: every].copy())
        label += len(vectors)
    queries = np.concatenate(kept)[:QUERIES]
    _, distances = index.knn_query(queries, k=min(NEAREST, count))
    saved = graph.folder / "index.bin"
    index.save_index(str(saved))
    del index
    slice_graph(saved, graph.folder)
    return Answers(queries, distances)


def write_ids(graph: GraphFiles, ids: Sequence[str]) -> None:
    """Write which id each label has. Labels count from 1, like the rows."""
    metadata = {
        "dimensionality": None,
        "total_elements_added": len(ids),
        "max_seq_id": None,
        "id_to_label": {record_id: label for label, record_id in enumerate(ids, 1)},
        "label_to_id": dict(enumerate(ids, 1)),
        "id_to_seq_id": {},
    }
    (graph.folder / IDS_FILE).write_bytes(pickle.dumps(metadata, protocol=PICKLE_PROTOCOL))


def slice_graph(saved: Path, folder: Path) -> None:
    """hnswlib's one file as Chroma's four. Raises DamagedError if it is not whole."""
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
    """Raises DamagedError if there is less: hnswlib does not say when the disk is full."""
    while size:
        block = source.read(min(size, BLOCK))
        if not block:
            raise DamagedError("the disk took less of the graph than there is")
        sink.write(block)
        size -= len(block)
