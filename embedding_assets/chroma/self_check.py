"""What Chroma must be able to do with a directory that it did not write: search it, change it, open it again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from embedding_assets.chroma.collection import DATABASE_FILE, open_collection
from embedding_assets.chroma.recall import Exact, distances_found

DOCUMENTS = "SELECT id, string_value FROM embedding_metadata WHERE key = 'chroma:document'"
SEARCHED = "SELECT id, c0 FROM embedding_fulltext_search_content"
APART = f"""
SELECT (SELECT count(*) FROM ({DOCUMENTS} EXCEPT {SEARCHED}))
     + (SELECT count(*) FROM ({SEARCHED} EXCEPT {DOCUMENTS}))
"""
"""How many documents are not in the text search, and how many texts of it are no document."""

AFTER_CHANGES = 0.2
"""How much less searches may find after a record was added, replaced and deleted: each change makes new links."""
SEARCHES = 64
"""Queries that are asked after the changes."""

PROBE = "embedding-assets self-check"


def self_check(copy: Path, collection: str, exact: Exact, recall: float) -> Iterator[str]:
    """What Chroma cannot do with `copy`, one line each. The copy is changed: throw it away afterwards.

    Each document is in the text search, under all its words; a record is added, found by its text, replaced and
    deleted, and is so after the directory was opened again; searches still find most of the nearest records, of
    which `recall` was measured before.
    """
    yield from _texts(copy / DATABASE_FILE)
    with open_collection(copy, collection) as opened:
        before = opened.count()
        add: Any = opened.upsert
        add(ids=[PROBE], embeddings=exact.queries[:1], documents=["probe 1"], metadatas=[{"probe": 1}])
        yield from _problem(opened.count() == before + 1, "a record that is added is not there")
        yield from _problem(
            _by_text(opened, "probe 1") == [PROBE], "a record that is added is not found by its text"
        )
        add(ids=[PROBE], embeddings=-exact.queries[:1], documents=["probe 2"], metadatas=[{"probe": 2}])
    with open_collection(copy, collection) as opened:
        found: Any = opened.get(ids=[PROBE], include=["embeddings", "documents", "metadatas"])
        same = len(found["ids"]) == 1 and np.allclose(found["embeddings"][0], -exact.queries[0], atol=1e-6)
        yield from _problem(same and found["documents"] == ["probe 2"], "a record that is replaced is another one")
        yield from _problem(_by_text(opened, "probe 1") == [], "a text that was replaced is still found")
        opened.delete(ids=[PROBE])
    with open_collection(copy, collection) as opened:
        yield from _problem(opened.count() == before, "a record that was deleted is still there")
        yield from _searched(opened, exact.part(SEARCHES), recall - AFTER_CHANGES)


def _problem(right: bool, problem: str) -> Iterator[str]:
    if not right:
        yield f"self-check: {problem}"


def _by_text(opened: Any, text: str) -> list[str]:
    found: list[str] = opened.get(where_document={"$contains": text}, where={"probe": {"$gte": 0}})["ids"]
    return found


def _texts(database: Path) -> Iterator[str]:
    """Whether the text search has the documents: `get` reads them from another table."""
    with closing(sqlite3.connect(database)) as connection:
        try:
            (apart,) = connection.execute(APART).fetchone()
            connection.execute(
                "INSERT INTO embedding_fulltext_search (embedding_fulltext_search) VALUES ('integrity-check')"
            )
        except sqlite3.DatabaseError as error:
            yield f"self-check: the text search is damaged: {error}"
        else:
            yield from _problem(apart == 0, f"the text search has not the same documents, {apart} differ")


def _searched(opened: Any, exact: Exact, least: float) -> Iterator[str]:
    """What is wrong with the searches if they find less than `least` of the nearest records."""
    found = distances_found(opened, exact)
    fewest = min(map(len, found))
    if fewest != exact.nearest:
        yield f"self-check: a search finds {fewest} records, not {exact.nearest}"
        return
    recall = exact.share_in(found)
    yield from _problem(recall >= least, f"searches find {recall:.3f} of the nearest records, not {least:.3f}")
