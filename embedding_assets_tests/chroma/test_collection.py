"""The Chroma writer: a record replaces a record, and what is closed is complete, flushed and compact."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedding_assets.chroma.client import RUNTIME_THREADS
from embedding_assets.chroma.collection import (
    DEFAULT_SYNC_THRESHOLD,
    ChromaRows,
    ChromaWriter,
    all_ids,
    open_collection,
    quick_check,
    read_rows,
)
from embedding_assets.errors import DamagedError
from embedding_assets_tests.deltas import matrix, record, records
from embedding_assets_tests.reference import Expected


def chroma_rows(wanted: Sequence[Expected]) -> ChromaRows:
    return ChromaRows(
        [one.id for one in wanted],
        matrix(wanted),
        [one.document for one in wanted],
        [one.metadata for one in wanted],
    )


def write(directory: Path, *, add: Sequence[Expected] = (), replace: Sequence[Expected] = ()) -> None:
    """One session of the writer."""
    with ChromaWriter(directory, "lines", "l2", len(add) + len(replace)) as writer:
        if replace:
            writer.replace(chroma_rows(replace))
        if add:
            writer.add(chroma_rows(add))


def read(directory: Path, copy: Path) -> dict[str, Expected]:
    """What a fresh copy of the directory holds."""
    shutil.copytree(directory, copy)
    with open_collection(copy, "lines") as collection:
        found = {
            record_id: Expected(record_id, tuple(float(number) for number in vector), document, metadata)
            for page in read_rows(collection)
            for record_id, vector, document, metadata in zip(
                page.ids, page.vectors, page.documents, page.metadata, strict=True
            )
        }
        assert collection.count() == len(found)
    return found


def queued(directory: Path) -> int:
    """Operations that stand in SQLite's queue, each with its vector."""
    with closing(sqlite3.connect(directory / "chroma.sqlite3")) as connection:
        return int(connection.execute("SELECT count(*) FROM embeddings_queue").fetchone()[0])


@pytest.mark.parametrize("count", [1, 10, 999, 1000, 1001, 2500])
def test_a_fresh_copy_has_every_record(tmp_path: Path, count: int) -> None:
    """Leaving the writer leaves nothing in the queue, below and above Chroma's threshold, and nothing open."""
    wanted = records("r", count)
    write(tmp_path / "version", add=wanted)
    assert queued(tmp_path / "version") <= 1
    assert read(tmp_path / "version", tmp_path / "copy") == {one.id: one for one in wanted}
    assert quick_check(tmp_path / "version") is None
    assert not list((tmp_path / "version").glob("*-wal"))
    assert not list((tmp_path / "version").glob("*-journal"))


def test_a_copy_answers_queries_with_the_nearest(tmp_path: Path) -> None:
    """The graph, not only SQLite, holds what was written: each record is nearest to itself."""
    wanted = records("r", 60)
    write(tmp_path / "version", add=wanted[:50])
    write(tmp_path / "version", add=wanted[50:])
    with open_collection(tmp_path / "version", "lines") as collection:
        found = collection.query(query_embeddings=matrix(wanted), n_results=1)
    assert [ids[0] for ids in found["ids"]] == [one.id for one in wanted]
    assert [near[0] for near in found["distances"] or []] == pytest.approx([0.0] * 60, abs=1e-6)


def test_the_threshold_is_chromas_own_afterwards(tmp_path: Path) -> None:
    """Who opens the published version and writes to a copy meets Chroma's ordinary behaviour."""
    write(tmp_path / "version", add=records("r", 1500))
    with open_collection(tmp_path / "version", "lines") as collection:
        hnsw: Any = collection.configuration["hnsw"]
        assert hnsw["sync_threshold"] == DEFAULT_SYNC_THRESHOLD
        assert hnsw["space"] == "l2"


@pytest.mark.parametrize("space", ["l2", "ip"])
def test_vectors_are_kept_bit_for_bit(tmp_path: Path, space: Any) -> None:
    """Neither distance changes a vector, of whatever length."""
    vectors = np.random.default_rng(5).normal(scale=7, size=(20, 8)).astype(np.float32)
    rows = ChromaRows([f"r{n}" for n in range(20)], vectors, [None] * 20, [None] * 20)
    with ChromaWriter(tmp_path / "version", "lines", space, 20) as writer:
        writer.add(rows)
    with open_collection(tmp_path / "version", "lines") as collection:
        [page] = read_rows(collection)
    order = [page.ids.index(name) for name in rows.ids]
    assert page.vectors[order].tobytes() == vectors.tobytes()


OLD = {"a": 1, "b": "x", "l": ["p", "q"]}


NEW_DOCUMENTS = ["new", None, ""]
NEW_METADATA: list[dict[str, Any] | None] = [{"a": 2}, {"c": True}, {"l": ["z"]}, None]


@pytest.mark.parametrize("metadata", [OLD, None], ids=["with metadata", "without"])
@pytest.mark.parametrize("document", ["old", None])
def test_a_record_replaces_a_record(tmp_path: Path, document: str | None, metadata: dict[str, Any] | None) -> None:
    """Nothing of the old record is left: no key of its metadata, not its document, not its vector."""
    shapes = [(text, values) for text in NEW_DOCUMENTS for values in NEW_METADATA]
    names = [f"r{number}" for number in range(len(shapes))]
    stays = record("stays", 2, "stays", {"a": 9, "b": "y"})
    write(tmp_path / "version", add=[*(record(name, 1, document, metadata) for name in names), stays])
    new = [record(name, 100 + n, *shapes[n]) for n, name in enumerate(names)]
    write(tmp_path / "version", replace=new)
    wanted = {one.id: one for one in [*new, stays]}
    assert read(tmp_path / "version", tmp_path / "copy") == wanted
    assert queued(tmp_path / "version") <= 1


def test_replacing_and_adding_in_one_session(tmp_path: Path) -> None:
    """Both in one session, over the threshold, several times."""
    first = records("r", 1100)
    write(tmp_path / "version", add=first)
    newer = records("r", 1050, seed=5000)
    more = records("s", 200, seed=9000)
    write(tmp_path / "version", replace=newer, add=more)
    wanted = {one.id: one for one in [*first, *newer, *more]}
    assert read(tmp_path / "version", tmp_path / "copy") == wanted
    assert queued(tmp_path / "version") <= 1


def test_deleted_rows_are_gone(tmp_path: Path) -> None:
    """A deleted id is in neither the id set nor the count."""
    write(tmp_path / "version", add=records("r", 5))
    with ChromaWriter(tmp_path / "version", "lines", "l2", 2) as writer:
        writer.delete(["r1", "r3"])
    with open_collection(tmp_path / "version", "lines") as collection:
        assert sorted(all_ids(collection)) == ["r0", "r2", "r4"]
        assert collection.count() == 3


@pytest.mark.parametrize("seed", range(5))
def test_sessions_that_delete_replace_and_add(tmp_path: Path, seed: int) -> None:
    """Chroma loses updates that follow a deletion; whatever was done before, the last word counts."""
    dice = np.random.default_rng(seed)
    there: dict[str, Expected] = {}
    for session in range(6):
        ids = sorted(there)
        gone = [one for one in ids if dice.random() < 0.3]
        replaced = [one for one in ids if one not in gone and dice.random() < 0.4]
        new = [f"r{session}-{number}" for number in range(int(dice.integers(0, 12)))]
        written = {
            one: record(one, int(dice.integers(1, 10_000)), f"{one} of {session}", {f"k{session}": 1})
            for one in (*replaced, *new)
        }
        with ChromaWriter(tmp_path / "version", "lines", "l2", 100, 8) as writer:
            writer.delete(gone)
            writer.replace(chroma_rows([written[one] for one in replaced])) if replaced else None
            writer.add(chroma_rows([written[one] for one in new])) if new else None
        there = {one: kept for one, kept in {**there, **written}.items() if one not in gone}
        assert read(tmp_path / "version", tmp_path / f"copy{session}") == there


def test_the_queue_does_not_stay_in_the_file(tmp_path: Path) -> None:
    """The queue held every vector for a while; its pages are given back, else each version drags them along."""
    wanted = [record(f"r{number}", number, None, None, dimensions=256) for number in range(1200)]
    write(tmp_path / "version", add=wanted)
    vectors = 1200 * 256 * 4
    assert (tmp_path / "version" / "chroma.sqlite3").stat().st_size < vectors


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    """quick_check says what is wrong instead of raising SQLite's error."""
    (tmp_path / "chroma.sqlite3").write_bytes(b"not a database" * 100)
    assert quick_check(tmp_path) is not None


def test_a_missing_collection_is_damage(tmp_path: Path) -> None:
    """A directory without any collection is not a snapshot."""
    with pytest.raises(DamagedError, match="lines"), open_collection(tmp_path / "nothing", "lines"):
        pass


def runtime_threads() -> int:
    """The threads of Chroma's runtimes in this process, once those of closed clients have ended."""
    time.sleep(0.3)
    count = 0
    for path in Path("/proc/self/task").glob("*/comm"):
        with suppress(OSError):  # a thread that ends meanwhile
            count += path.read_text().startswith("tokio-rt-")
    return count


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux lists the threads of a process")
def test_a_client_has_a_runtime_of_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With several, closing one in thousands never ends. The environment of others is as it was afterwards."""
    write(tmp_path / "one", add=records("a", 1))
    before = runtime_threads()
    monkeypatch.setenv(RUNTIME_THREADS, "3")
    with open_collection(tmp_path / "one", "lines"):
        three = runtime_threads() - before
    assert os.environ[RUNTIME_THREADS] == "3"
    monkeypatch.delenv(RUNTIME_THREADS)
    with open_collection(tmp_path / "one", "lines"):
        assert runtime_threads() - before == three - 2
    assert RUNTIME_THREADS not in os.environ
