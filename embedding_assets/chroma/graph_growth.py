"""New nodes in a graph that is there: its links are put back into faiss, which goes on where it ended.

Deleted records are marked, as hnswlib does; their nodes stay, and searches go through them. A new vector that is
there already joins the ring of its equals (`graph_links`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from embedding_assets.chroma.direct_graph import DirectGraph, GraphParameters, Rung
from embedding_assets.chroma.graph_files import ELEMENTS_FILE, LINKS_FILE, SIZE, GraphFiles
from embedding_assets.chroma.graph_links import NONE, Ints, Links, links_of, put_ring
from embedding_assets.chroma.projection import Matrix
from embedding_assets.errors import DamagedError, UnsuitableError

COUNTED = 0xFFFF
"""Bits of hnswlib's first word that count the links of a node; the one above says that it was deleted."""
DELETED = 0x10000
EFFORT = 2
"""Breadth of the search for neighbours, in Chroma's own: new nodes are few, and every later search pays."""
WIDTH = 192


@dataclass(frozen=True)
class New:
    """The ids and vectors, `(n, dim) float32`, of new nodes."""

    ids: list[str]
    vectors: Matrix


def grow(files: GraphFiles, parameters: GraphParameters, gone: Sequence[str], new: New) -> None:
    """Mark the nodes of `gone` and add `new` to the files of a graph. The directory is closed and private.

    Raises UnsuitableError for what faiss refuses or a graph without nodes, DamagedError for one that is not whole.
    """
    before = files.header.count
    if not before or files.header.dimensions != new.vectors.shape[1]:
        raise UnsuitableError("the graph has no node, or vectors of another length")
    if files.header.links_above != parameters.links:
        raise UnsuitableError("the graph has other parameters than its collection")
    total = before + len(new.ids)
    graph = DirectGraph(files, parameters, files.header.dimensions, before)
    old = graph.elements()
    bits = old["used"] & ~np.uint32(COUNTED)
    links = _read(files, old)
    groups = _equals(old["vector"], new.vectors)
    follows = np.zeros(len(new.ids), dtype=np.bool_)
    for members in groups:
        follows[[node - before for node in members[1:] if node >= before]] = True
    order = np.concatenate([np.flatnonzero(~follows), np.flatnonzero(follows)])
    named = np.concatenate([np.arange(before), before + np.argsort(order)])
    grown = _with_new(graph, links, new.vectors[~follows])
    lowest = np.full((total, 2 * parameters.links), NONE, dtype=np.int64)
    lowest[: len(grown.lowest)] = grown.lowest
    for members in groups:
        put_ring(lowest, [int(named[node]) for node in members])
    labels = {record_id: label for label, record_id in files.ids.items()}
    if not labels.keys() >= set(gone):
        raise DamagedError("the graph has no node for a record that is published")
    dead = np.isin(old["label"], np.array([labels.pop(one) for one in gone], dtype=np.uint64))
    first = int(old["label"].max()) + 1
    _append(graph, new.vectors[order], first)
    graph.count = total
    graph.write_links(
        Links(lowest, np.zeros(total, dtype=np.int64), grown.above, grown.entry, grown.top),
        np.concatenate([bits | np.where(dead, DELETED, 0), np.zeros(len(new.ids))]).astype(np.uint32),
    )
    labels.update({new.ids[place]: first + number for number, place in enumerate(order.tolist())})
    graph.write_labels(labels, first - 1 + len(new.ids))


def _read(files: GraphFiles, elements: Any) -> Links:
    """The links as they are stored."""
    most = files.header.links_above
    room = elements["links"].shape[1]
    used = (elements["used"] & COUNTED).astype(np.int64)
    lowest = np.where(np.arange(room) < used[:, None], elements["links"].astype(np.int64), NONE)
    levels = np.zeros(len(elements), dtype=np.int64)
    above: dict[int, Ints] = {}
    data = (files.folder / LINKS_FILE).read_bytes()
    place = 0
    for node in range(len(elements)):
        (size,) = SIZE.unpack_from(data, place)
        place += SIZE.size
        if size:
            lists = np.frombuffer(data, "<u4", size // 4, place).reshape(-1, 1 + most).astype(np.int64)
            counted = lists[:, :1] & COUNTED
            above[node] = np.where(np.arange(most) < counted, lists[:, 1:], NONE)
            levels[node] = len(lists)
            place += size
    entry, top = files.entry
    return Links(lowest, levels, above, entry, top)


def _with_new(graph: DirectGraph, links: Links, new: Matrix) -> Links:
    """The links after faiss has added these vectors behind the others."""
    import faiss

    if not len(new):
        return links
    most = graph.parameters.links
    everything = np.arange(len(links.lowest))
    graph.all_are_distinct()
    rung = next((one for one in (Rung(WIDTH), Rung(128)) if graph.may_do(one)), Rung(None))
    metric = faiss.METRIC_INNER_PRODUCT if graph.parameters.space == "ip" else faiss.METRIC_L2
    width = rung.width or graph.dimensions
    index: Any = faiss.IndexHNSWFlat(width, most, metric)
    index.hnsw.efConstruction = graph.parameters.construction * EFFORT
    index.storage.add(graph.projected(everything, rung))
    sizes = 2 * most + links.levels * most
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    neighbours = np.full(int(offsets[-1]), NONE, dtype=np.int32)
    neighbours[offsets[:-1, None] + np.arange(2 * most)] = links.lowest
    for node, lists in links.above.items():
        start = int(offsets[node]) + 2 * most
        neighbours[start : start + lists.size] = lists.ravel()
    faiss.copy_array_to_vector((links.levels + 1).astype(np.int32), index.hnsw.levels)
    faiss.copy_array_to_vector(offsets.astype(np.uint64), index.hnsw.offsets)
    faiss.copy_array_to_vector(neighbours, index.hnsw.neighbors)
    index.hnsw.entry_point, index.hnsw.max_level = links.entry, links.top
    index.ntotal = len(everything)
    try:
        index.add(graph.turned(new, rung))
    except RuntimeError as error:
        raise UnsuitableError(f"faiss failed: {error}") from error
    return links_of(index, most)


def _equals(old: Matrix, new: Matrix) -> list[list[int]]:
    """Nodes of equal vectors, for each group that a new one is in; new ones come last and count behind `old`."""
    ends = [np.ascontiguousarray(np.asarray(rows)[:, [0, -1]]).view("<u8")[:, 0] for rows in (old, new)]
    maybe = np.flatnonzero(np.isin(ends[0], ends[1]))
    groups: dict[bytes, list[int]] = {}
    for node in maybe.tolist():
        groups.setdefault(old[node].tobytes(), []).append(node)
    for place, row in enumerate(np.ascontiguousarray(new)):
        groups.setdefault(row.tobytes(), []).append(len(old) + place)
    return [members for members in groups.values() if len(members) > 1 and members[-1] >= len(old)]


def _append(graph: DirectGraph, vectors: Matrix, first: int) -> None:
    path = graph.files.folder / ELEMENTS_FILE
    end = graph.count * graph.files.header.element_size
    if path.stat().st_size < end:
        raise DamagedError(f"{ELEMENTS_FILE} is shorter than its header says")
    with path.open("r+b") as sink:
        sink.truncate(end)
        sink.seek(end)
        sink.write(graph.new_elements(vectors, first).tobytes())
