"""The files of Chroma's graph, read without Chroma: which vector is stored under which id.

Layout (chromadb 1.5): `header.bin` is an int32 1 and hnswlib's header of 96 bytes; `data_level0.bin` has one
element of `element_size` bytes after the other, in it the vector and the label; `index_metadata.pickle` is a
plain dict that maps labels to ids. Chroma loads these same bytes and gives vectors back from them, much slower.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embedding_assets.errors import DamagedError

HEADER_FILE = "header.bin"
ELEMENTS_FILE = "data_level0.bin"
LENGTHS_FILE = "length.bin"
LINKS_FILE = "link_lists.bin"
IDS_FILE = "index_metadata.pickle"

FORMAT = struct.Struct("<i")
SIZE = struct.Struct("<I")
HEADER = struct.Struct("<QQQQQQiIQQQdQ")
"""hnswlib's `saveIndex`: offset, capacity, count, element size, label and vector offsets, levels, links."""

ELEMENTS_AT_ONCE = 2048

OF_PICKLES = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
)
"""What reading a damaged pickle may raise: its documentation has no complete list."""

Vectors = np.ndarray[tuple[int, int], np.dtype[np.float32]]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class Header:
    """What hnswlib's header says of its elements; offsets and sizes in bytes."""

    capacity: int
    count: int
    element_size: int
    label_offset: int
    vector_offset: int
    links_above: int
    """Links that an element may have on each level but the lowest."""

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return (self.label_offset - self.vector_offset) // 4


class _PlainUnpickler(pickle.Unpickler):
    """Reads plain values alone: a pickle that names anything to be called is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it names {module}.{name}")


@dataclass(frozen=True)
class GraphFiles:
    """The graph of a closed, flushed Chroma directory with one collection."""

    folder: Path
    header: Header
    ids: dict[int, str]
    """Id by label."""

    @property
    def entry(self) -> tuple[int, int]:
        """The node at which searches begin, and how many levels are above the lowest."""
        fields = HEADER.unpack_from((self.folder / HEADER_FILE).read_bytes(), FORMAT.size)
        return fields[7], fields[6]

    def vectors(self) -> Iterator[tuple[list[str], Vectors]]:
        """Every stored vector with its id, some thousand at a time; what was deleted is left out."""
        for elements in self._elements():
            yield self._alive(elements)

    def _elements(self) -> Iterator[Bytes]:
        """The elements as they are stored, a row each."""
        size = self.header.element_size
        try:
            with (self.folder / ELEMENTS_FILE).open("rb") as stream:
                for start in range(0, self.header.count, ELEMENTS_AT_ONCE):
                    wanted = min(ELEMENTS_AT_ONCE, self.header.count - start)
                    elements = np.frombuffer(stream.read(wanted * size), dtype=np.uint8)
                    if elements.size != wanted * size:
                        raise DamagedError(f"{ELEMENTS_FILE} is shorter than its header says")
                    yield elements.reshape(wanted, size)
        except OSError as error:
            raise DamagedError(f"{ELEMENTS_FILE} cannot be read: {error}") from error

    def check_links(self) -> None:
        """Raise DamagedError if a link leads to no element, or the lists of links are not whole.

        Chroma looks at neither: it follows such a link out of its memory, and takes a list that is cut off for
        an empty one.
        """
        for elements in self._elements():
            self._check_lists(_columns(elements, 0, self.header.vector_offset, "<u4"), ELEMENTS_FILE)
        place = 0
        try:
            above = (self.folder / LINKS_FILE).read_bytes()
            for _ in range(self.header.count):
                (size,) = SIZE.unpack_from(above, place)
                place += SIZE.size
                if size:
                    lists = np.frombuffer(above, "<u4", size // 4, place).reshape(-1, 1 + self.header.links_above)
                    self._check_lists(lists, LINKS_FILE)
                    place += size
        except (OSError, struct.error, ValueError) as error:
            raise DamagedError(f"{LINKS_FILE} is not what its header says: {error}") from error
        if place != len(above):
            raise DamagedError(f"{LINKS_FILE} is longer than its header says")

    def _check_lists(self, lists: np.ndarray[Any, np.dtype[np.uint32]], name: str) -> None:
        """`lists` has a row for each list: how many links there are, in its low 16 bits, and room for them."""
        counts = lists[:, :1] & 0xFFFF
        used = np.arange(lists.shape[1] - 1) < counts
        if (counts >= lists.shape[1]).any() or (lists[:, 1:][used] >= self.header.count).any():
            raise DamagedError(f"{name} has a link to nowhere")

    def _alive(self, elements: Bytes) -> tuple[list[str], Vectors]:
        labels = _columns(elements, self.header.label_offset, 8, "<u8")[:, 0].tolist()
        vectors: Vectors = _columns(elements, self.header.vector_offset, 4 * self.header.dimensions, "<f4")
        ids = [self.ids.get(label) for label in labels]
        known = [number for number, record_id in enumerate(ids) if record_id is not None]
        if len(known) == len(ids):
            return [record_id for record_id in ids if record_id is not None], vectors
        return [self.ids[labels[number]] for number in known], vectors[known]


def _columns(elements: Bytes, offset: int, size: int, kind: str) -> Any:
    return np.ascontiguousarray(elements[:, offset : offset + size]).view(kind)


def find_graph(directory: Path) -> GraphFiles | None:
    """The graph of a Chroma directory; None if there is none, or not exactly one of the layout known here.

    Raises DamagedError if it has that layout and is not whole.
    """
    headers = list(directory.glob(f"*/{HEADER_FILE}"))
    if len(headers) != 1:
        return None
    header = read_header(headers[0])
    if header is None:
        return None
    return GraphFiles(headers[0].parent, header, _read_ids(headers[0].parent / IDS_FILE))


def header_beside(elements: Path) -> Header | None:
    """The header of the graph that a file belongs to; None if it is no file of elements, or its header is odd."""
    if elements.name != ELEMENTS_FILE or not (elements.parent / HEADER_FILE).is_file():
        return None
    header = read_header(elements.parent / HEADER_FILE)
    inside = header is not None and 0 <= header.vector_offset < header.label_offset < header.element_size
    return header if inside else None


def read_header(path: Path) -> Header | None:
    """The header of a graph; None if it is not of the layout known here."""
    data = path.read_bytes()
    if len(data) != FORMAT.size + HEADER.size or FORMAT.unpack_from(data) != (1,):
        return None
    fields = HEADER.unpack_from(data, FORMAT.size)
    offset, capacity, count, element_size, label_offset, vector_offset = fields[:6]
    links_above, links = fields[8:10]
    if (offset, vector_offset, element_size) != (0, 4 + 4 * links, label_offset + 8):
        return None
    if label_offset <= vector_offset or (label_offset - vector_offset) % 4:
        return None
    return Header(capacity, count, element_size, label_offset, vector_offset, links_above)


def _read_ids(path: Path) -> dict[int, str]:
    try:
        metadata = _PlainUnpickler(io.BytesIO(path.read_bytes())).load()
        return dict(metadata["label_to_id"])
    except (OSError, *OF_PICKLES) as error:
        raise DamagedError(f"{IDS_FILE} cannot be read: {error}") from error
