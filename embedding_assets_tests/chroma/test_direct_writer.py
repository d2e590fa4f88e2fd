"""The direct writer against Chroma: the same tables and answers; files differ in the graph's shape alone."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embedding_assets.chroma import direct_writer
from embedding_assets.chroma.collection import Space, open_collection
from embedding_assets.chroma.direct_graph import DirectGraph
from embedding_assets.chroma.direct_writer import write_directly
from embedding_assets.chroma.graph_files import LENGTHS_FILE, LINKS_FILE
from embedding_assets.errors import LockError, UnsuitableError
from embedding_assets_tests.chroma.both_writers import (
    NAME,
    Both,
    as_content,
    batches,
    content,
    elements_size,
    graph_file,
    header,
    ids_by_label,
    same,
    tables,
    write_both,
    write_direct,
)
from embedding_assets_tests.deltas import matrix, record, records
from embedding_assets_tests.reference import Expected

OF_THE_SHAPE = {"max_elements_", "maxlevel_", "enterpoint_node_"}
"""Fields of hnswlib's header that depend on chance, or on how much room was reserved."""

LONG = "a word and another one " * 1000
ODD_IDS = [
    "'",
    '"',
    "a b",
    "%_",
    "ä",
    "🎉",
    "-",
    "0",
    "x" * 500,
    "\u202eright to left",
    "new\nline",
    "nul\0inside",
]
VALUES: dict[str, list[Any]] = {
    "text": ["", "x", "ä🎉", "مرحبا", "nul\0inside", "'; DROP TABLE embeddings; --", "true", "1"],
    "int": [0, 1, -1, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)],
    "float": [0.0, -0.0, 1.0, -1.5, 0.1 + 0.2, 1e300, -1e300, 1e-300, 5e-324, 1.7976931348623157e308],
    "bool": [True, False],
    "mixed": ["x", 1, 1.0, True, False, -7, ["x"], [1, 2]],
    "texts": [["a", "b", "a"], [""], ["nul\0inside", "ä🎉"]],
    "ints": [[1, 2], [-(2**63), 2**63 - 1]],
    "floats": [[1.0, 0.1 + 0.2], [5e-324]],
    "bools": [[True, False], [False]],
}
DOCUMENTS = [None, "", "a", "ab", "abc", "ab🎉", "مرحبا بالعالم", "new\nline"]


def varied(count: int = 40) -> list[Expected]:
    """Records that differ in every way; some of their keys come late, some have several types."""
    mixed = []
    for number in range(count):
        metadata: dict[str, Any] = {
            key: values[number % len(values)]
            for place, (key, values) in enumerate(VALUES.items())
            if number % (place + 2) == 0
        }
        if number == count - 2:
            metadata["late"] = "only here"
        name = ODD_IDS[number] if number < len(ODD_IDS) else f"r{number}"
        document = LONG if number == 30 else DOCUMENTS[number % len(DOCUMENTS)]
        mixed.append(record(name, number // 2, document, metadata or None))
    return mixed


def bare(count: int) -> list[Expected]:
    return [record(f"r{number}", number, None, None) for number in range(count)]


CASES: dict[str, list[Expected]] = {
    "varied": varied(),
    "one": records("r", 1),
    "one that is bare": bare(1),
    "all bare": bare(20),
    "no metadata": [record(f"r{number}", number, f"text {number}") for number in range(20)],
    "no documents": [record(f"r{number}", number, None, {"n": number}) for number in range(20)],
    "the first documents are late": [*bare(16), *records("s", 16)],
    "every record brings a key": [record(f"r{n}", n, None, {f"k{n}": n}) for n in range(20)],
    "one dimension": [record(f"r{n}", n, f"text {n}", {"n": n}, dimensions=1) for n in range(20)],
    "many dimensions": [record(f"r{n}", n, f"text {n}", {"n": n}, dimensions=1536) for n in range(20)],
    "one vector for all": [record(f"r{number}", 1, f"text {number}") for number in range(60)],
}


def assert_same(both: Both, wanted: list[Expected], space: Space) -> None:
    """All that the two directories hold is the same, and it is what was to be written."""
    direct, chroma = tables(both.direct), tables(both.chroma)
    assert direct.keys() == chroma.keys()
    assert [name for name in direct if not same(direct[name], chroma[name])] == []
    assert len(direct["embeddings_queue"]) == 1
    assert {row["seq_id"] for row in direct["max_seq_id"]} == {len(wanted)}
    assert ids_by_label(both.direct) == ids_by_label(both.chroma)
    ours, theirs = header(both.direct), header(both.chroma)
    assert {ours[name] == theirs[name] for name in ours.keys() - OF_THE_SHAPE} == {True}
    for directory, told in ((both.direct, ours), (both.chroma, theirs)):
        assert elements_size(directory) == told["max_elements_"] * told["size_data_per_element_"]
        assert graph_file(directory, LENGTHS_FILE).stat().st_size == 4 * told["max_elements_"]
        assert graph_file(directory, LINKS_FILE).stat().st_size >= 4 * len(wanted)
    expected = as_content(wanted)
    found = [content(directory) for directory in (both.direct, both.chroma)]
    assert [same(one, expected) for one in found] == [True, True]
    answers = [_nearest(directory, matrix(wanted)) for directory in (both.direct, both.chroma)]
    np.testing.assert_allclose(answers[0], answers[1], rtol=1e-4, atol=1e-5)


def _nearest(directory: Path, queries: np.ndarray[Any, Any]) -> list[float]:
    with open_collection(directory, NAME) as collection:
        found = collection.query(query_embeddings=queries, n_results=1, include=["distances"])
    return [near[0] for near in found["distances"] or []]


UNDER_BOTH_DISTANCES = ("varied", "many dimensions")


@pytest.mark.parametrize(
    ("case", "space"), [*((case, "l2") for case in CASES), *((case, "ip") for case in UNDER_BOTH_DISTANCES)]
)
def test_both_writers_leave_the_same(tmp_path: Path, case: str, space: Space) -> None:
    """Every table, the pickle, the header, what is given back and what is nearest."""
    assert_same(write_both(tmp_path, CASES[case], space), CASES[case], space)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
KEYS = st.text("abcäß🎉 .", min_size=1, max_size=2)
SCALARS = st.one_of(
    TEXT,
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
)


@st.composite
def any_records(draw: st.DrawFn) -> list[Expected]:
    """Some records of one length of vectors, some of which are equal."""
    dimensions = draw(st.sampled_from([1, 2, 8]))
    ids = draw(st.lists(TEXT.filter(bool), min_size=1, max_size=15, unique=True))
    return [
        record(
            record_id,
            draw(st.integers(0, 20)),
            draw(st.none() | TEXT.filter(lambda text: "\0" not in text)),
            draw(st.dictionaries(KEYS, SCALARS, max_size=3)) or None,
            dimensions,
        )
        for record_id in ids
    ]


@settings(max_examples=6, suppress_health_check=list(HealthCheck))
@given(wanted=any_records(), space=st.sampled_from(["l2", "ip"]), size=st.integers(1, 5))
def test_any_records(wanted: list[Expected], space: Space, size: int) -> None:
    """Whatever the mix."""
    with tempfile.TemporaryDirectory() as name:
        assert_same(write_both(Path(name), wanted, space, size), wanted, space)


FILTERS: list[dict[str, Any]] = [
    {"text": "ä🎉"},
    {"text": {"$in": ["", "x"]}},
    {"text": "nul\0inside"},
    {"int": 2**53 + 1},
    {"int": {"$lt": 0}},
    {"int": {"$gte": 2**63 - 1}},
    {"float": {"$gt": 1e200}},
    {"float": 0.0},
    {"float": {"$lte": -1.5}},
    {"bool": True},
    {"bool": {"$ne": True}},
    {"mixed": 1},
    {"mixed": "x"},
    {"mixed": True},
    {"mixed": {"$ne": 1.0}},
    {"late": "only here"},
    {"nobody has it": {"$ne": 1}},
    {"$and": [{"bool": False}, {"text": {"$nin": ["x"]}}]},
    {"$or": [{"int": -1}, {"float": {"$lt": 0.0}}]},
]
SEARCHED = ["abc", "ab", "🎉", "مرحبا", "Word", "word and", "new\n", "%", "no such"]


@pytest.fixture(scope="module")
def varied_both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    """Varied records under both writers, to be read alone."""
    return write_both(tmp_path_factory.mktemp("varied"), CASES["varied"])


def test_filters_find_the_same(varied_both: Both) -> None:
    """Every type of metadata, and text, in `get` and in a search; what is found is not always nothing."""
    asked: list[dict[str, Any]] = [
        *({"where": one} for one in FILTERS),
        *({"where_document": {how: text}} for how in ("$contains", "$not_contains") for text in SEARCHED),
        {"where_document": {"$regex": "[aä]b.?c"}},
    ]
    query = matrix(CASES["varied"][:1])
    told = []
    for directory in (varied_both.direct, varied_both.chroma):
        with open_collection(directory, NAME) as collection:
            got = [sorted(collection.get(include=[], **one)["ids"]) for one in asked]
            near = [collection.query(query_embeddings=query, n_results=50, **one)["ids"][0] for one in asked]
            told.append((got, list(map(sorted, near))))
    assert told[0] == told[1]
    assert sum(map(bool, told[0][0])) > len(asked) / 2


def test_the_order_of_get_is_that_of_writing(varied_both: Both) -> None:
    """Pages by limit and offset are the same in both: who reads page by page loses nothing."""
    told = []
    for directory in (varied_both.direct, varied_both.chroma):
        with open_collection(directory, NAME) as collection:
            pages = [collection.get(limit=7, offset=start, include=[])["ids"] for start in range(0, 40, 7)]
        told.append(pages)
    assert told[0] == told[1]


def test_the_recall_is_not_below_chromas(tmp_path: Path) -> None:
    """recall@10 against brute force, over vectors that are hard: uniform ones of 64 dimensions."""
    wanted = [record(f"r{number}", number, None, None, dimensions=64) for number in range(1500)]
    both = write_both(tmp_path, wanted, size=500)
    queries = np.random.default_rng(3).normal(size=(100, 64)).astype(np.float32)
    vectors = matrix(wanted)
    distances = ((queries[:, None, :] - vectors[None]) ** 2).sum(axis=2)
    right = [{f"r{place}" for place in row} for row in np.argsort(distances, axis=1)[:, :10].tolist()]
    recalls = []
    for directory in (both.direct, both.chroma):
        with open_collection(directory, NAME) as collection:
            ids = collection.query(query_embeddings=queries, n_results=10)["ids"]
        recalls.append(sum(len(best.intersection(found)) for best, found in zip(right, ids, strict=True)) / 1000)
    assert recalls[0] > recalls[1] - 0.03


def test_a_document_with_a_nul_is_left_to_chroma(tmp_path: Path) -> None:
    """SQLites differ in whether their text search goes on after one, and Chroma brings its own."""
    wanted = [*records("r", 3), record("nul", 5, "nul\0inside")]
    with pytest.raises(UnsuitableError, match="NUL"):
        write_direct(tmp_path / "version", wanted)


def test_keys_that_are_data_are_left_to_chroma(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chroma would write nearly every record before the rest is written here."""
    monkeypatch.setattr(direct_writer, "MOST_SEEDS", 9)
    wanted = [record(f"r{number}", number, "t", {f"k{number}": 1}) for number in range(10)]
    write_direct(tmp_path / "version", wanted[:9])
    with pytest.raises(UnsuitableError, match="more than 9"):
        write_direct(tmp_path / "another", wanted)


def test_rows_that_cannot_be_written_end_the_graph_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt does not wait until the graph of all the other records is built."""
    built: list[int] = []
    counts: list[int] = []

    def interrupted(*args: object) -> list[str]:
        raise KeyboardInterrupt

    def write_vectors(self: DirectGraph, blocks: Iterable[Any]) -> None:
        counts.append(self.count)
        for block in blocks:
            built.append(len(block))
            time.sleep(0.01)

    monkeypatch.setattr(direct_writer, "write_rows", interrupted)
    monkeypatch.setattr(DirectGraph, "write_vectors", write_vectors)
    many = batches(records("r", 5000), 1024) * 100
    with pytest.raises(KeyboardInterrupt):
        write_directly(tmp_path / "version", NAME, "l2", lambda: many, lambda: None)
    assert counts == [500_000]
    assert len(built) < 100


def test_a_schema_that_was_not_tried_is_left_to_chroma(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later Chroma may have other tables: only what was tried is written."""
    monkeypatch.setattr(direct_writer, "TRIED", frozenset({"0" * 64}))
    with pytest.raises(UnsuitableError, match="not tried"):
        write_direct(tmp_path / "version", records("r", 3))


def test_without_faiss_it_is_left_to_chroma(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written then."""
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UnsuitableError, match="faiss"):
        write_direct(tmp_path / "version", records("r", 3))
    assert not (tmp_path / "version").exists()


def test_nothing_to_write_is_left_to_chroma(tmp_path: Path) -> None:
    """There is no graph without a record."""
    with pytest.raises(UnsuitableError, match="no record"):
        write_direct(tmp_path / "version", [])


def test_work_that_became_pointless_ends(tmp_path: Path) -> None:
    """`check` raises after some batches: its error comes out, whichever thread met it first."""
    calls = iter(range(100))

    def check() -> None:
        if next(calls) > 8:
            raise LockError("the lock is lost")

    parts = batches(records("r", 200))
    with pytest.raises(LockError, match="lost"):
        write_directly(tmp_path / "version", NAME, "l2", lambda: parts, check)


def test_rows_whose_batches_are_slices(tmp_path: Path) -> None:
    """Slices of one Arrow batch, some of them empty, are written like batches of their own."""
    wanted = records("r", 20)
    [whole] = batches(wanted, 20)
    parts: list[pa.RecordBatch] = [whole.slice(start, size) for start, size in ((0, 0), (0, 3), (3, 16), (19, 1))]
    write_directly(tmp_path / "version", NAME, "l2", lambda: parts, lambda: None)
    assert content(tmp_path / "version") == as_content(wanted)
