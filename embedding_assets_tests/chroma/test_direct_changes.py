"""Changes without Chroma: the tables are those that Chroma leaves, and each gate closes."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedding_assets.chroma import direct_changes
from embedding_assets.chroma.collection import ChromaWriter, Space, open_collection
from embedding_assets.chroma.direct_changes import Trial, change_directly
from embedding_assets.chroma.graph_files import find_graph
from embedding_assets.errors import DamagedError, UnsuitableError
from embedding_assets_tests.chroma.both_writers import (
    NAME,
    as_content,
    batches,
    chroma_rows,
    content,
    header,
    ids_by_label,
    same,
    tables,
    write_by_chroma,
    write_direct,
)
from embedding_assets_tests.chroma.test_direct_goes_on import SESSIONS, columns
from embedding_assets_tests.deltas import matrix, record, records
from embedding_assets_tests.reference import Expected

BASE = records("r", 300)
GONE = [one.id for one in BASE[250:]]
NEWER = records("r", 40, seed=5_000)
REPEATED = [replace(one, vector=BASE[60].vector) for one in records("same", 40, 9_000)]
MORE = [*records("s", 90, 7_000), *REPEATED]
WANTED = [*BASE[40:250], *NEWER, *MORE]


def change(directory: Path, new: Sequence[Expected] = (*NEWER, *MORE), space: Space = "l2") -> Trial:
    """The changes, and the trial of what came of them, which counts nothing yet."""
    gone = [*GONE, *(one.id for one in NEWER)]
    vectors = change_directly(directory, NAME, space, gone, batches(new, 50))
    return Trial(NAME, space, None, vectors)


@pytest.mark.parametrize("base", [write_direct, write_by_chroma])
@pytest.mark.parametrize("space", ["l2", "ip"])
def test_tables_are_those_of_chroma(tmp_path: Path, base: Callable[..., object], space: Space) -> None:
    """Every table, and every label; equal vectors are in a ring; Chroma goes on with it."""
    direct, chroma = tmp_path / "direct", tmp_path / "chroma"
    base(direct, BASE, space)
    shutil.copytree(direct, chroma)
    trial = change(direct, space=space)
    with ChromaWriter(chroma, NAME, space, 400, 8) as writer:
        writer.delete(GONE)
        writer.replace(chroma_rows(NEWER))
        writer.add(chroma_rows(MORE))
    ours, theirs = tables(direct), tables(chroma)
    assert [name for name in theirs if not same(ours[name], theirs[name])] == []
    assert sorted(ids_by_label(direct)["label_to_id"]) == sorted(ids_by_label(chroma)["label_to_id"])
    assert header(direct)["cur_element_count"] == header(chroma)["cur_element_count"]
    graph = find_graph(direct)
    assert graph is not None
    graph.check_links()
    copy = shutil.copytree(direct, tmp_path / "copy")
    assert list(trial(copy)) == []
    assert (trial.recall or 0) > 0.99
    assert content(direct) == as_content(WANTED)
    with open_collection(direct, NAME) as opened:
        found = opened.query(query_embeddings=matrix(REPEATED[:1]), n_results=41, include=[])["ids"]
    assert space == "ip" or set(found[0]) == {BASE[60].id, *(one.id for one in REPEATED)}


def test_chroma_goes_on_with_it(tmp_path: Path) -> None:
    """Adds, upserts, updates, deletions and openings, as on any directory; then changes without Chroma again."""
    directory = tmp_path / "direct"
    write_direct(directory, BASE, size=100)
    change(directory)
    there = {one.id: one for one in WANTED}
    restored = [one for one in BASE if one.id not in there]
    with open_collection(directory, NAME) as collection:
        add: Any = collection.add
        add(**columns(restored))
    there.update({one.id: one for one in restored})
    for session in SESSIONS:
        with open_collection(directory, NAME) as collection:
            for operation in session:
                operation(collection, there)
        assert same(content(directory), as_content(list(there.values())))


def test_again_and_again(tmp_path: Path) -> None:
    """Each time on what was changed before."""
    directory = tmp_path / "direct"
    write_direct(directory, BASE, size=100)
    there = {one.id: one for one in BASE}
    for round_ in range(4):
        gone = sorted(there)[round_::5]
        new = [*records("r", 30, 1_000 * (round_ + 1)), *records(f"n{round_}", 20, 20_000 + 100 * round_)]
        gone = sorted({*gone, *(one.id for one in new if one.id in there)})
        vectors = change_directly(directory, NAME, "l2", gone, batches(new))
        there = {name: one for name, one in there.items() if name not in gone} | {one.id: one for one in new}
        assert list(Trial(NAME, "l2", None, vectors)(shutil.copytree(directory, tmp_path / f"{round_}"))) == []
    assert content(directory) == as_content(list(there.values()))


@pytest.mark.parametrize(
    ("new", "because"),
    [
        (record("x", 1, "t", {"another": 1}), "key is new"),
        (record("x", 1, "t", {"number": "text"}), "key is new"),
        (record("x", 1, "t", {"number": [1]}), "has a list"),
        (record("x", 1, "a\0b", {"number": 1}), "NUL"),
    ],
)
def test_what_chroma_must_write(tmp_path: Path, new: Expected, because: str) -> None:
    directory = tmp_path / "direct"
    write_direct(directory, BASE[:20])
    with pytest.raises(UnsuitableError, match=because):
        change_directly(directory, NAME, "l2", [], batches([new]))


def test_what_is_not_flushed(tmp_path: Path) -> None:
    """Rows in the queue alone would be lost."""
    directory = tmp_path / "direct"
    write_direct(directory, BASE[:20])
    with open_collection(directory, NAME) as collection:
        add: Any = collection.add
        add(**columns(records("y", 3, 400)))
    with pytest.raises(UnsuitableError, match="not flushed"):
        change_directly(directory, NAME, "l2", [], batches(records("x", 3, 500)))


def test_a_record_that_is_not_there(tmp_path: Path) -> None:
    directory = tmp_path / "direct"
    write_direct(directory, BASE[:20])
    with pytest.raises(DamagedError, match="no row"):
        change_directly(directory, NAME, "l2", ["never"], batches(records("x", 3, 500)))


def test_a_schema_that_was_not_tried(tmp_path: Path) -> None:
    directory = tmp_path / "direct"
    write_direct(directory, BASE[:20])
    with closing(sqlite3.connect(directory / "chroma.sqlite3")) as connection:
        connection.execute("CREATE TABLE other (id)")
        connection.commit()
    with pytest.raises(UnsuitableError, match="schema"):
        change_directly(directory, NAME, "l2", [], batches(records("x", 3, 500)))


def test_searches_that_find_too_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than the base's, and new records that are not found by their own vectors."""
    directory = tmp_path / "direct"
    write_direct(directory, BASE[:100])
    vectors = change_directly(directory, NAME, "l2", [], batches(records("x", 30, 500)))
    far = Trial(NAME, "l2", None, np.asarray(vectors + 1, dtype=np.float32))
    assert list(far(shutil.copytree(directory, tmp_path / "far"))) == ["searches find 0.000 of the new records"]
    monkeypatch.setattr(direct_changes, "recall_of", lambda *told: 0.95)
    trial = Trial(NAME, "l2", 0.99, vectors)
    [problem] = trial(shutil.copytree(directory, tmp_path / "little"))
    assert problem == "searches find 0.950 of the nearest records, not 0.960"
