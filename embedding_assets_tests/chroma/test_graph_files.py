"""The graph's files: the vectors read from them are those that Chroma gives, whatever was done before."""

from __future__ import annotations

import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedding_assets.chroma.collection import ChromaWriter, open_collection, read_rows
from embedding_assets.chroma.graph_files import (
    ELEMENTS_AT_ONCE,
    ELEMENTS_FILE,
    HEADER_FILE,
    IDS_FILE,
    LINKS_FILE,
    find_graph,
    read_header,
)
from embedding_assets.errors import DamagedError
from embedding_assets_tests.chroma.both_writers import (
    NAME,
    chroma_rows,
    graph_file,
    ids_by_label,
    write_by_chroma,
)
from embedding_assets_tests.deltas import matrix, record, records

Session = Callable[[ChromaWriter], None]


def in_files(directory: Path) -> dict[str, bytes]:
    """Vectors by id, from the files; each id comes once, and no link leads to nowhere."""
    graph = find_graph(directory)
    assert graph is not None
    graph.check_links()
    found = [
        (record_id, row.tobytes())
        for ids, rows in graph.vectors()
        for record_id, row in zip(ids, rows, strict=True)
    ]
    assert len(dict(found)) == len(found)
    return dict(found)


def through_chroma(directory: Path, copy: Path) -> dict[str, bytes]:
    shutil.copytree(directory, copy)
    with open_collection(copy, NAME) as collection:
        return {
            record_id: row.tobytes()
            for page in read_rows(collection)
            for record_id, row in zip(page.ids, page.vectors, strict=True)
        }


SESSIONS: list[tuple[str, Session]] = [
    ("add", lambda writer: writer.add(chroma_rows(records("r", 150)))),
    ("delete", lambda writer: writer.delete([f"r{number}" for number in range(0, 60, 3)])),
    ("replace", lambda writer: writer.replace(chroma_rows(records("r", 3, seed=900)[1:]))),
    ("grow", lambda writer: writer.add(chroma_rows(records("s", ELEMENTS_AT_ONCE + 500, seed=1000)))),
    ("amend", lambda writer: writer.amend(["r100"], [{"other": 1}])),
    ("delete all", lambda writer: writer.delete([f"s{number}" for number in range(ELEMENTS_AT_ONCE + 500)])),
    ("bring back", lambda writer: writer.add(chroma_rows(records("s", 70, seed=5000)))),
]


def test_vectors_are_those_that_chroma_gives(tmp_path: Path) -> None:
    """After additions, deletions, replacements, growth, and ids that were deleted and came back."""
    for name, session in SESSIONS:
        with ChromaWriter(tmp_path / "version", NAME, "l2", 6000, 8) as writer:
            session(writer)
        expected = through_chroma(tmp_path / "version", tmp_path / name)
        assert in_files(tmp_path / "version") == expected, name
    assert len(expected) == 130 + 70


@pytest.mark.parametrize("dimensions", [1, 3, 1536])
@pytest.mark.parametrize("space", ["l2", "ip"])
def test_vectors_of_any_length(tmp_path: Path, dimensions: int, space: Any) -> None:
    """The header tells the length."""
    wanted = [record(f"r{number}", number, dimensions=dimensions) for number in range(5)]
    write_by_chroma(tmp_path / "version", wanted, space)
    assert in_files(tmp_path / "version") == {one.id: matrix([one])[0].tobytes() for one in wanted}
    header = read_header(graph_file(tmp_path / "version", HEADER_FILE))
    assert header is not None
    assert (header.dimensions, header.count) == (dimensions, 5)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sound") / "version"
    write_by_chroma(directory, records("r", 200))
    return directory


@pytest.fixture
def version(sound: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    shutil.copytree(sound, tmp_path / "version")
    return tmp_path / "version"


def test_without_a_graph_there_is_none(tmp_path: Path) -> None:
    """A collection without records has no files of a graph."""
    with ChromaWriter(tmp_path / "version", NAME, "l2", 0):
        pass
    assert find_graph(tmp_path / "version") is None


def test_two_graphs_are_none(version: Path) -> None:
    """Which one is the collection's is not known here."""
    folder = graph_file(version, HEADER_FILE).parent
    shutil.copytree(folder, version / "another")
    assert find_graph(version) is None


@pytest.mark.parametrize(
    ("place", "kind", "value"),
    [
        (0, "<i", 2),
        (4, "<Q", 8),
        (4 + 3 * 8, "<Q", 180),
        (4 + 4 * 8, "<Q", 132),
        (4 + 4 * 8, "<Q", 166),
        (4 + 5 * 8, "<Q", 128),
    ],
    ids=["format", "offset", "element size", "no vector", "odd length of vector", "vector offset"],
)
def test_another_layout_is_none(version: Path, place: int, kind: str, value: int) -> None:
    """A header that says anything unknown is not read with guesses: the caller asks Chroma."""
    path = graph_file(version, HEADER_FILE)
    data = bytearray(path.read_bytes())
    struct.pack_into(kind, data, place, value)
    path.write_bytes(data)
    assert find_graph(version) is None


@pytest.mark.parametrize("size", [0, 99, 101])
def test_a_header_of_another_length_is_none(version: Path, size: int) -> None:
    """Shorter, longer, empty."""
    path = graph_file(version, HEADER_FILE)
    path.write_bytes((path.read_bytes() + b"\0")[:size])
    assert find_graph(version) is None


@pytest.mark.parametrize("size", [0, 1000, 172 * 200 - 1])
def test_elements_that_are_cut_off_are_damage(version: Path, size: int) -> None:
    """Also if the last byte alone is missing."""
    path = graph_file(version, ELEMENTS_FILE)
    path.write_bytes(path.read_bytes()[:size])
    graph = find_graph(version)
    assert graph is not None
    with pytest.raises(DamagedError, match="data_level0"):
        list(graph.vectors())
    with pytest.raises(DamagedError, match="data_level0"):
        graph.check_links()


@pytest.mark.parametrize("name", [ELEMENTS_FILE, LINKS_FILE])
def test_a_missing_file_is_damage(version: Path, name: str) -> None:
    """Not an error of the operating system's."""
    graph_file(version, name).unlink()
    graph = find_graph(version)
    assert graph is not None
    with pytest.raises(DamagedError, match=name):
        graph.check_links()


class Anything:
    """Pickled by its name: to load it is to import and call what the file says."""


@pytest.mark.parametrize("told", [Anything(), {"label_to_id": Anything()}, {"label_to_id": {1: np.float32(1)}}])
def test_a_pickle_that_names_a_class_is_refused(version: Path, told: object) -> None:
    """What lies in a bucket is never executed."""
    graph_file(version, IDS_FILE).write_bytes(pickle.dumps(told))
    with pytest.raises(DamagedError, match="it names"):
        find_graph(version)


@pytest.mark.parametrize("told", [{}, [], None, {"label_to_id": 3}, {"label_to_id": ["a"]}])
def test_a_pickle_of_something_else_is_damage(version: Path, told: object) -> None:
    """Not a KeyError, not a TypeError."""
    graph_file(version, IDS_FILE).write_bytes(pickle.dumps(told))
    with pytest.raises(DamagedError, match=IDS_FILE):
        find_graph(version)


COSTLY = (pickle.LONG_BINPUT, b"\x96")
"""Orders that take the memory which the next bytes name, gigabytes where these are damaged, before they fail."""


def test_a_damaged_pickle_is_damage_and_nothing_else(version: Path) -> None:
    """Any byte changed, any length: either it is read, or DamagedError is raised."""
    path = graph_file(version, IDS_FILE)
    wanted = [record(str(number), number) for number in range(90)]
    write_by_chroma(version.parent / "digits", wanted)
    whole = graph_file(version.parent / "digits", IDS_FILE).read_bytes()
    assert not any(order in whole for order in COSTLY)
    dice = np.random.default_rng(1)
    orders = [order for order in range(256) if bytes([order]) not in COSTLY]
    refused = 0
    for number in range(1500):
        data = bytearray(whole[: int(dice.integers(0, len(whole)))] if number % 3 == 0 else whole)
        if number % 3:
            data[int(dice.integers(0, len(data)))] = int(dice.choice(orders))
        path.write_bytes(data)
        try:
            find_graph(version)
        except DamagedError:
            refused += 1
    assert refused > 500


@pytest.mark.parametrize("told", [b"a.", b"0.", b"}}b.", b"", b"\x80\x09."])
def test_a_pickle_that_cannot_be_read_is_damage(version: Path, told: bytes) -> None:
    """One of each error that the unpickler has: an empty stack, a state for nothing, an end too early."""
    graph_file(version, IDS_FILE).write_bytes(told)
    with pytest.raises(DamagedError, match=IDS_FILE):
        find_graph(version)


def test_the_pickle_is_plain(sound: Path) -> None:
    """What Chroma writes is what is read: labels count from 1."""
    graph = find_graph(sound)
    assert graph is not None
    assert graph.ids == ids_by_label(sound)["label_to_id"] == {n + 1: f"r{n}" for n in range(200)}
