"""Documents and metadata read from Chroma's tables without Chroma: all of them, at many times its speed."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import Any

from embedding_assets.chroma.collection import DOCUMENT_KEY

Text = tuple[str | None, dict[str, Any] | None]
"""A record's document and metadata; None if it has none."""

ROWS = """
    SELECT e.embedding_id, m.key, m.string_value, m.int_value, m.float_value, m.bool_value
    FROM embeddings e LEFT JOIN embedding_metadata m ON m.id = e.id ORDER BY e.id
"""
LISTS = """
    SELECT e.embedding_id, m.key, m.string_value, m.int_value, m.float_value, m.bool_value
    FROM embeddings e JOIN embedding_metadata_array m ON m.id = e.id ORDER BY m.rowid
"""


def stored_texts(database: Path, wanted: Collection[str]) -> dict[str, Text] | None:
    """By id, for those of `wanted` that are there. None if the tables are not of the layout known here.

    Known are those of one collection (chromadb 1.5).
    """
    chosen = wanted if isinstance(wanted, set | frozenset) else frozenset(wanted)
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            if connection.execute("SELECT count(*) FROM collections").fetchone() != (1,):
                return None
            return _collected(connection.execute(ROWS), connection.execute(LISTS), chosen)
    except sqlite3.OperationalError:
        return None


def _collected(rows: sqlite3.Cursor, lists: sqlite3.Cursor, wanted: Collection[str]) -> dict[str, Text]:
    documents: dict[str, str | None] = {}
    metadata: dict[str, dict[str, Any]] = {}
    for record_id, key, text, integer, number, flag in rows:
        if record_id not in wanted:
            continue
        if record_id not in metadata:
            documents[record_id], metadata[record_id] = None, {}
        if key == DOCUMENT_KEY:
            documents[record_id] = text
        elif key is not None:
            metadata[record_id][key] = _value(text, integer, number, flag)
    for record_id, key, *stored in lists:
        if record_id in metadata:
            metadata[record_id].setdefault(key, []).append(_value(*stored))
    return {record_id: (document, metadata[record_id] or None) for record_id, document in documents.items()}


def _value(text: str | None, integer: int | None, number: float | None, flag: int | None) -> object:
    """Of a row, the column that is set."""
    if text is not None:
        return text
    return integer if integer is not None else number if flag is None else bool(flag)
