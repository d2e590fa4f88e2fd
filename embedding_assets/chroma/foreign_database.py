"""A Chroma directory from elsewhere, examined before Chroma opens it: Chroma believes what is in it.

Facts that this module rests on (tried with chromadb 1.5.9): Chroma queries a view in the place of a table, also
one without an end; it reads as many numbers of a vector as the table of collections says; and a graph whose header
says more elements than its file has ends the process.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from embedding_assets.chroma.collection import DATABASE_FILE, quick_check
from embedding_assets.chroma.graph_files import ELEMENTS_FILE, HEADER_FILE, read_header
from embedding_assets.errors import InputError

SEARCHES = "embedding_fulltext_search"
"""The one virtual table of Chroma."""
ODD = """
SELECT name FROM sqlite_master
WHERE type IN ('view', 'trigger') OR (sql LIKE 'create virtual%' AND name <> ?)
"""
VECTORS = """
SELECT segments.id, collections.dimension FROM segments JOIN collections ON segments.collection = collections.id
WHERE segments.scope = 'VECTOR' AND collections.name = ?
"""


def check_database(directory: Path) -> None:
    """Raise InputError if the database is damaged, or has a view, a trigger or a foreign virtual table."""
    try:
        with closing(sqlite3.connect(directory / DATABASE_FILE)) as connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            odd = connection.execute(ODD, (SEARCHES,)).fetchone()
        if odd is not None:
            raise InputError(f"its database has a view, a trigger or a virtual table, {str(odd[0])[:64]!r}")
        problem = quick_check(directory)
    except (sqlite3.Error, OSError) as error:
        raise InputError(f"its database cannot be read: {error}") from error
    if problem is not None:
        raise InputError(f"its database is damaged: {' '.join(problem.split())}")


def check_graph(directory: Path, collection: str) -> None:
    """Raise InputError if the graph of a collection does not fit its header, or the collection's dimensions.

    A collection without a graph's files passes, since it has few records, and a graph of another layout: Chroma
    decides then. `check_database` comes before.
    """
    try:
        with closing(sqlite3.connect(directory / DATABASE_FILE)) as connection:
            found = connection.execute(VECTORS, (collection,)).fetchall()
        for segment, dimensions in found:
            _check_segment(directory, str(segment), dimensions)
    except (sqlite3.Error, OSError) as error:
        raise InputError(f"its graph cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _check_segment(directory: Path, segment: str, dimensions: object) -> None:
    folder = directory / segment
    if dimensions is not None and not (isinstance(dimensions, int) and dimensions > 0):
        raise InputError("its collection has no dimensions that could be")
    if folder.parent != directory or not (folder / HEADER_FILE).is_file():
        return
    header = read_header(folder / HEADER_FILE)
    if header is None:
        return
    size = (folder / ELEMENTS_FILE).stat().st_size
    if header.count > header.capacity or header.count * header.element_size > size:
        raise InputError(f"its {ELEMENTS_FILE} is shorter than its header says")
    if dimensions is not None and header.dimensions != dimensions:
        raise InputError(f"its vectors have {header.dimensions} dimensions, its collection {dimensions}")
