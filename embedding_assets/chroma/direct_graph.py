"""The graph of a new Chroma directory: whole vectors in Chroma's files, links by faiss on their projections.

The vectors are written once, in the order of their labels; then links are built and written as often as it takes
until searches find enough (`RUNGS`).
"""

from __future__ import annotations

import hashlib
import math
import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np

from embedding_assets.chroma.collection import Space
from embedding_assets.chroma.graph_files import (
    ELEMENTS_FILE,
    FORMAT,
    HEADER,
    HEADER_FILE,
    IDS_FILE,
    LENGTHS_FILE,
    LINKS_FILE,
    SIZE,
    GraphFiles,
)
from embedding_assets.chroma.graph_links import NONE, Groups, Links, build_links, with_rings
from embedding_assets.chroma.near_vectors import LEADING, near_groups
from embedding_assets.chroma.projection import Basis, Matrix, find_basis
from embedding_assets.errors import DamagedError

LENGTH_SIZE = 4
PICKLE_PROTOCOL = 3
"""Chroma's own."""
HASH_BYTES = 16
SAMPLED = 1_024
HELD_OUT = 256
"""Vectors that the projection is found from, and others that it is judged by."""
ROWS_AT_ONCE = 8_192
LEAST_KEPT = 0.6
"""Share of the squared length that a projection must keep to be tried: below it distances say too little."""
LEAST_SAVED = 3
"""A projection is tried if vectors are so many times as long."""


@dataclass(frozen=True)
class Rung:
    """One way to build the links: on `width` directions (None: on the whole vectors), with `effort` times Chroma's
    own breadth of construction."""

    width: int | None
    effort: int = 1

    def __str__(self) -> str:
        return f"{self.width or 'all'} dimensions, {self.effort} x ef_construction"


WHOLE = Rung(None)
RUNGS = (Rung(128), Rung(192, 2), WHOLE)
"""From the cheapest; the last one has Chroma's own parameters."""
WIDEST = 192


@dataclass(frozen=True)
class GraphParameters:
    """Parameters of the graph, as Chroma has them in the collection's configuration."""

    space: Space
    links: int
    construction: int


@dataclass
class DirectGraph:
    """The graph of `count` records. `files` are those of a directory that Chroma made; they are written over."""

    files: GraphFiles
    parameters: GraphParameters
    dimensions: int
    count: int
    _firsts: list[int] = field(default_factory=list)
    _followers: dict[int, list[int]] = field(default_factory=dict)

    def write_vectors(self, vectors: Iterable[Matrix]) -> None:
        """Write every vector, `(n, dim) float32` blocks in the order of their labels, which count from 1.

        Raises OSError for a full disk, DamagedError if there are not `count` of them.
        """
        first_of: dict[bytes, int] = {}
        node = 0
        with (self.files.folder / ELEMENTS_FILE).open("wb") as sink:
            for block in vectors:
                sink.write(self.new_elements(block, node + 1).tobytes())
                for row in np.ascontiguousarray(block):
                    self._group(first_of, row.tobytes(), node)
                    node += 1
        if node != self.count:
            raise DamagedError(f"{node} vectors were written, {self.count} expected")

    def rungs(self) -> Iterator[Rung]:
        """The ways to build the links that may do, from the cheapest."""
        for rung in RUNGS:
            if self.may_do(rung):
                yield rung

    def link(self, rung: Rung) -> None:
        """Build the links in this way and write them. Raises RuntimeError for what faiss refuses."""
        groups = self._groups
        parameters = self.parameters
        built = build_links(
            self.projected(groups.firsts, rung),
            parameters.links,
            parameters.construction * rung.effort,
            inner_product=parameters.space == "ip",
        )
        self.write_links(with_rings(built, groups, self.count))

    def write_ids(self, ids: Sequence[str]) -> None:
        """Write which id each label has."""
        self.write_labels({record_id: label for label, record_id in enumerate(ids, 1)}, len(ids))

    def write_labels(self, labels: Mapping[str, int], added: int) -> None:
        """Write the label of each id; `added` is how many labels were ever given."""
        metadata = {
            "dimensionality": None,
            "total_elements_added": added,
            "max_seq_id": None,
            "id_to_label": dict(labels),
            "label_to_id": {label: record_id for record_id, label in labels.items()},
            "id_to_seq_id": {},
        }
        (self.files.folder / IDS_FILE).write_bytes(pickle.dumps(metadata, protocol=PICKLE_PROTOCOL))

    def new_elements(self, vectors: Matrix, first: int) -> np.ndarray[Any, Any]:
        """Elements without links, their labels from `first` on."""
        elements = np.zeros(len(vectors), self._element)
        elements["vector"] = vectors
        elements["label"] = np.arange(first, first + len(vectors))
        return elements

    def all_are_distinct(self) -> None:
        """Take every node for one of a vector of its own: for a graph whose groups nobody has looked for."""
        self._firsts = list(range(self.count))

    @property
    def distinct(self) -> int:
        """How many of the vectors are different ones."""
        return len(self._firsts)

    def may_do(self, rung: Rung) -> bool:
        """Whether distances along so many directions are much cheaper and say enough."""
        width = rung.width
        if width is None:
            return True
        if width * LEAST_SAVED > self.dimensions or width > self.distinct:
            return False
        kept = self._basis.kept
        return width <= len(kept) and bool(kept[width - 1] >= LEAST_KEPT)

    @property
    def _element(self) -> np.dtype[np.void]:
        """hnswlib's element on the lowest level."""
        room = 2 * self.parameters.links
        return np.dtype(
            [
                ("used", "<u4"),
                ("links", "<u4", (room,)),
                ("vector", "<f4", (self.dimensions,)),
                ("label", "<u8"),
            ]
        )

    def _group(self, first_of: dict[bytes, int], vector: bytes, node: int) -> None:
        key = hashlib.blake2b(vector, digest_size=HASH_BYTES).digest()
        first = first_of.setdefault(key, node)
        if first == node:
            self._firsts.append(node)
        else:
            self._followers.setdefault(first, []).append(node)

    def elements(self, mode: Any = "r") -> Any:
        """The nodes as they are stored."""
        return np.memmap(self.files.folder / ELEMENTS_FILE, dtype=self._element, mode=mode, shape=(self.count,))

    @cached_property
    def _groups(self) -> Groups:
        """Nodes of equal vectors and, if a projection tells which may be near each other, of nearly equal ones."""
        groups = Groups(np.array(self._firsts, dtype=np.int64), self._followers)
        if not self.may_do(RUNGS[0]):
            return groups
        vectors = self.elements()["vector"]
        leading = self.projected(groups.firsts, Rung(LEADING))
        return near_groups(groups, leading, lambda nodes: np.ascontiguousarray(vectors[nodes]))

    @cached_property
    def _basis(self) -> Basis:
        wanted = min(self.distinct, SAMPLED + HELD_OUT)
        chosen = np.array(self._firsts)[np.linspace(0, self.distinct - 1, wanted).astype(np.int64)]
        sample: Matrix = np.ascontiguousarray(self.elements()["vector"][chosen])
        held_out = np.arange(wanted) % ((SAMPLED + HELD_OUT) // HELD_OUT) == 0
        return find_basis(sample[~held_out] if wanted > 1 else sample, sample[held_out], WIDEST)

    def projected(self, nodes: np.ndarray[Any, np.dtype[np.int64]], rung: Rung) -> Matrix:
        """The vectors of nodes, `(n, width) float32`, as `rung` compares them."""
        projected: Matrix = np.empty((len(nodes), rung.width or self.dimensions), dtype=np.float32)
        vectors = self.elements()["vector"]
        for start in range(0, len(nodes), ROWS_AT_ONCE):
            block = vectors[nodes[start : start + ROWS_AT_ONCE]]
            projected[start : start + len(block)] = self.turned(block, rung)
        return projected

    def turned(self, vectors: Matrix, rung: Rung) -> Matrix:
        """Vectors, `(n, dim) float32`, as `rung` compares them."""
        return vectors if rung.width is None else vectors @ self._basis.first(rung.width)

    def write_links(self, links: Links, bits: np.ndarray[Any, np.dtype[np.uint32]] | None = None) -> None:
        """Write the links of every node, and above their count those `bits` that hnswlib keeps of each."""
        elements = self.elements("r+")
        used = (links.lowest != NONE).sum(axis=1)
        elements["used"] = used if bits is None else used | bits
        elements["links"] = np.where(links.lowest == NONE, 0, links.lowest)
        elements.flush()
        folder, most = self.files.folder, self.parameters.links
        header = self._header(links)
        (folder / HEADER_FILE).write_bytes(FORMAT.pack(1) + header)
        (folder / LINKS_FILE).write_bytes(b"".join(chain.from_iterable(_above(links, self.count, most))))
        (folder / LENGTHS_FILE).write_bytes(bytes(LENGTH_SIZE * self.count))

    def _header(self, links: Links) -> bytes:
        element, most = self._element, self.parameters.links
        assert element.fields is not None, "a structured type has fields"
        offsets = [int(element.fields[name][1]) for name in ("label", "vector")]
        return HEADER.pack(
            0,
            self.count,
            self.count,
            element.itemsize,
            *offsets,
            links.top,
            links.entry,
            most,
            2 * most,
            most,
            1 / math.log(most),
            self.parameters.construction,
        )


def _above(links: Links, count: int, most: int) -> Iterator[tuple[bytes, bytes]]:
    """For each node the size of its lists above the lowest level, and the lists."""
    nothing = (SIZE.pack(0), b"")
    for node in range(count):
        found = links.above.get(node)
        if found is None:
            yield nothing
            continue
        lists = np.zeros((len(found), 1 + most), dtype="<u4")
        lists[:, 0] = (found != NONE).sum(axis=1)
        lists[:, 1:] = np.where(found == NONE, 0, found)
        yield SIZE.pack(lists.nbytes), lists.tobytes()
