"""Records of which the metadata alone is new: told by their hashes, changed without touching the graph."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedding_assets.executions.metadata_only import amendments, metadata_only, published_of
from embedding_assets.versions.manifest import VersionManifest
from embedding_assets.versions.version_files import VersionFile
from embedding_assets_tests.chroma.both_writers import same
from embedding_assets_tests.deltas import at, index_of, record, records, source
from embedding_assets_tests.executions.conftest import Workbench
from embedding_assets_tests.reference import Expected, reference_digest, reference_hash

VALUES: dict[str, Any] = {
    "absent": None,
    "text": "1",
    "other text": "",
    "int": 1,
    "zero": 0,
    "bool": True,
    "float": 1.0,
    "texts": ["a", "b"],
    "texts in another order": ["b", "a"],
    "ints": [1, 2],
    "bools": [True],
    "floats": [1.5],
}
LISTS = {name for name, value in VALUES.items() if isinstance(value, list)}


def having(value: Any, **more: Any) -> dict[str, Any] | None:
    """Metadata with one key, or with none, and with others beside it."""
    return {**({} if value is None else {"k": value}), **more} or None


def transitions(names: set[str]) -> tuple[list[Expected], list[Expected]]:
    """Records before and after: every change from one of the named values to any, alone and beside a key."""
    before, after = [], []
    for number, (old, new) in enumerate(permutations(VALUES, 2)):
        if old in names:
            for label, beside in (("alone", {}), ("beside", {"kept": "x"})):
                one = record(f"{old} to {new} {label}", number, "text", having(VALUES[old], **beside))
                before.append(one)
                after.append(replace(one, metadata=having(VALUES[new], **beside)))
    return before, after


def graph_of(manifest: VersionManifest) -> dict[str, VersionFile]:
    """The graph's files."""
    return {file.path.split("/")[-1]: file for file in manifest.files if file.path.endswith(".bin")}


def assert_published(bench: Workbench, wanted: list[Expected]) -> None:
    """Also the types of the metadata, which Python's equality does not tell apart."""
    published = bench.published()
    assert published == {one.id: one for one in wanted}
    assert all(same(published[one.id].metadata, one.metadata) for one in wanted)
    assert bench.pointer().manifest.content_digest == reference_digest(wanted)


BASES: list[tuple[str, set[str]]] = [("chroma", set(VALUES)), ("direct", set(VALUES) - LISTS)]
"""Who writes the base, and which values it may have: lists are never written directly."""


@pytest.mark.parametrize(("writer", "names"), BASES, ids=[writer for writer, _ in BASES])
def test_every_change_of_metadata(bench: Workbench, writer: Any, names: set[str]) -> None:
    """Of every record at once: all are right, and no file of the graph is written or uploaded again."""
    if writer == "direct":
        pytest.importorskip("hnswlib", reason="the direct writer needs hnswlib, an optional extra")
    before, after = transitions(names)
    bench.writer, bench.chunk_size = writer, 1000
    first = bench.merge([bench.batch("b1", before)], 1)
    assert first.writer == writer
    base = bench.pointer().manifest
    second = bench.merge([bench.batch("b2", after, at(1))], 2)
    assert (second.added, second.updated, second.unchanged) == (0, len(after), 0)
    assert second.writer == "chroma"
    manifest = bench.pointer().manifest
    assert graph_of(manifest) == graph_of(base)
    assert len(graph_of(manifest)) == 4
    assert [
        key for key in bench.keys(f"lines/snapshot/versions/{manifest.version}/") if key.endswith(".bin")
    ] == []
    assert_published(bench, after)


@pytest.mark.parametrize("what", ["document", "no document", "one bit of a vector"])
def test_more_than_metadata_touches_the_graph(bench: Workbench, what: str) -> None:
    """A changed document too: with it, the record is written again as a whole."""
    base = records("a", 12)
    bench.merge([bench.batch("b1", base)], 1)
    before = bench.pointer().manifest
    bits = np.array(base[3].vector, np.float32)
    bits.view("<u4")[0] ^= 1
    changed = {
        "document": replace(base[3], document="another"),
        "no document": replace(base[3], document=None),
        "one bit of a vector": replace(base[3], vector=tuple(bits.tolist())),
    }[what]
    amended = replace(base[4], metadata={"number": 4, "new": True})
    bench.merge([bench.batch("b2", [changed, amended], at(1))], 2)
    after = bench.pointer().manifest
    assert graph_of(after)["data_level0.bin"].key != graph_of(before)["data_level0.bin"].key
    assert_published(bench, [*base[:3], changed, amended, *base[5:]])


def test_amended_again_and_then_replaced(bench: Workbench) -> None:
    """One record through several versions: by its metadata, by its vector, deleted, new, by its metadata."""
    others = records("a", 10)
    bench.merge([bench.batch("b0", [*others, record("x", 50, "t", {"n": 1})])], 1)
    steps = [
        record("x", 50, "t", {"n": 2}),
        record("x", 50, "t", None),
        record("x", 51, "t", {"n": "3", "l": [1]}),
        None,
        record("x", 52, None, {"n": 5}),
        record("x", 52, None, {"m": 5.5}),
    ]
    for number, step in enumerate(steps, start=1):
        name, when = f"b{number}", at(number)
        bench.merge([bench.batch(name, [step], when) if step else bench.deletions(name, ["x"], when)], number + 1)
        assert_published(bench, [*others, *([step] if step else [])])


def test_which_rows_they_are(tmp_path: Path) -> None:
    """A mask over all incoming rows, of those to be updated alone; over several sources."""
    base = records("r", 6)
    incoming = [
        replace(base[5], metadata={"number": -1}),
        record("new", 99),
        replace(base[1], document="another", metadata={"number": -1}),
        replace(base[2], vector=base[3].vector),
        replace(base[4], metadata=None),
        base[0],
    ]
    sources = [source(tmp_path / "1", incoming[:2]), source(tmp_path / "2", incoming[2:])]
    update = np.array([True, False, True, True, True, False])
    published = published_of(index_of(base), ["r5", "r1", "r2", "r4"])
    assert published["r4"] == (reference_hash(base[4]), '{"number":4}')
    mask = metadata_only(sources, update, published)
    assert mask.tolist() == [True, False, False, False, True, False]


def test_what_is_sent_to_chroma(tmp_path: Path) -> None:
    """The new metadata whole, and None for each key that has to go."""
    base = [record("a", 1, "t", {"x": 1, "y": 2}), record("b", 2, "t", None), record("c", 3, "t", {"x": 1})]
    incoming = [
        record("b", 2, "t", {"z": [1]}),
        record("c", 3, "t", None),
        record("a", 1, "t", {"y": "2", "z": 3}),
    ]
    [batch] = source(tmp_path / "1", incoming).batches()
    wanted = amendments(batch, published_of(index_of(base), ["a", "b", "c"]))
    assert wanted == [{"z": [1]}, {"x": None}, {"x": None, "y": "2", "z": 3}]
