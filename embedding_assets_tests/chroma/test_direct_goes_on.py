"""A directly written directory in Chroma's hands: it is changed, grows, is opened again, and nothing gets lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from embedding_assets.chroma.collection import ChromaWriter, open_collection
from embedding_assets.chroma.graph_files import find_graph
from embedding_assets_tests.chroma.both_writers import (
    NAME,
    Both,
    as_content,
    chroma_rows,
    content,
    header,
    same,
    tables,
    write_both,
)
from embedding_assets_tests.deltas import matrix, record, records
from embedding_assets_tests.reference import Expected

BASE = 300
GROWN = 1200
"""Beyond Chroma's `sync_threshold` of 1000, and beyond the room of the graph."""

There = dict[str, Expected]


def columns(wanted: Sequence[Expected]) -> dict[str, Any]:
    rows = chroma_rows(wanted)
    return {"ids": rows.ids, "embeddings": rows.vectors, "documents": rows.documents, "metadatas": rows.metadata}


def adds(collection: Any, there: There) -> None:
    new = records("new", GROWN, seed=10_000)
    for start in range(0, GROWN, 400):
        collection.add(**columns(new[start : start + 400]))
    there.update({one.id: one for one in new})


def upserts(collection: Any, there: There) -> None:
    """Old ids and new ones at once; Chroma keeps the keys that an upsert does not name."""
    newer = [*records("r", 50, seed=20_000), *records("upserted", 50, seed=30_000)]
    collection.upsert(**columns(newer))
    there.update({one.id: one for one in newer})


def updates_metadata(collection: Any, there: There) -> None:
    ids = [f"r{number}" for number in range(60, 120)]
    collection.update(ids=ids, metadatas=[{"number": 1.5, "fresh": True}] * 60)
    for one in ids:
        there[one] = replace(there[one], metadata={"number": 1.5, "fresh": True})


def updates_vectors_and_documents(collection: Any, there: There) -> None:
    newer = [record(f"r{number}", 40_000 + number, f"updated {number}") for number in range(110, 160)]
    told = columns(newer)
    collection.update(ids=told["ids"], embeddings=told["embeddings"], documents=told["documents"])
    for one in newer:
        there[one.id] = replace(there[one.id], vector=one.vector, document=one.document)


def deletes(collection: Any, there: There) -> None:
    ids = [one for number, one in enumerate(sorted(there)) if number % 5 == 0]
    collection.delete(ids=ids)
    for one in ids:
        del there[one]


def adds_again(collection: Any, there: There) -> None:
    """Ids that were deleted before, with other content, beside new ones."""
    gone = sorted({one.id for one in records("new", GROWN)} - there.keys())[:100]
    new = [
        *(record(one, 50_000 + n, f"again {n}", None) for n, one in enumerate(gone)),
        *records("x", 900, 60_000),
    ]
    collection.add(**columns(new))
    there.update({one.id: one for one in new})


SESSIONS: list[list[Callable[[Any, There], None]]] = [
    [adds],
    [upserts, updates_metadata, updates_vectors_and_documents],
    [deletes, adds_again],
]
"""Operations of one session; between sessions the directory is opened again. No update follows a deletion,
for Chroma then loses vectors of its own."""


def queried(directory: Path, there: There) -> float:
    """Share of the records that are nearest to their own vectors."""
    wanted = list(there.values())[::10]
    with open_collection(directory, NAME) as collection:
        found = collection.query(query_embeddings=matrix(wanted), n_results=1)["ids"]
    return float(np.mean([ids[0] == one.id for ids, one in zip(found, wanted, strict=True)]))


def test_chroma_goes_on_with_it(tmp_path: Path) -> None:
    """The same operations on both directories: the same content after each session, in tables and files."""
    base = records("r", BASE)
    both = write_both(tmp_path, base, size=100)
    assert header(both.direct)["max_elements_"] == BASE
    there = {one.id: one for one in base}
    for session in SESSIONS:
        ends = []
        for directory in (both.direct, both.chroma):
            state = dict(there)
            with open_collection(directory, NAME) as collection:
                for operation in session:
                    operation(collection, state)
            assert same(content(directory), as_content(list(state.values())))
            assert queried(directory, state) > 0.98
            ends.append(state)
        there = ends[0]
        assert_same_tables(both)
    assert header(both.direct)["max_elements_"] > GROWN


def assert_same_tables(both: Both) -> None:
    direct, chroma = tables(both.direct), tables(both.chroma)
    assert [name for name in direct if not same(direct[name], chroma[name])] == []


def test_a_later_version_is_built_on_it(tmp_path: Path) -> None:
    """Our own writer's session on both leaves equal tables, all flushed: every vector is in the files."""
    base = records("r", BASE)
    both = write_both(tmp_path, base, size=100)
    newer, more = records("r", 40, seed=5000), records("s", 900, seed=7000)
    wanted = {one.id: one for one in [*base[:200], *newer, *more]}
    for directory in (both.direct, both.chroma):
        with ChromaWriter(directory, NAME, "l2", 100 + 80 + 900, 8) as writer:
            writer.delete([one.id for one in base[200:]])
            writer.replace(chroma_rows(newer))
            writer.add(chroma_rows(more))
        assert content(directory) == as_content(list(wanted.values()))
        graph = find_graph(directory)
        assert graph is not None
        graph.check_links()
        stored = {
            record_id: row.tobytes()
            for ids, rows in graph.vectors()
            for record_id, row in zip(ids, rows, strict=True)
        }
        assert stored == {one.id: matrix([one])[0].tobytes() for one in wanted.values()}
    assert_same_tables(both)
