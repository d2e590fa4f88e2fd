"""The same records written by Chroma and by the direct writer, and all that Chroma keeps of them in tables."""

from __future__ import annotations

import json
import math
import pickle
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from embedding_assets.chroma.collection import ChromaRows, ChromaWriter, Space, open_collection, read_rows
from embedding_assets.chroma.direct_writer import DirectlyWritten, write_directly
from embedding_assets.chroma.graph_files import ELEMENTS_FILE, HEADER_FILE, IDS_FILE
from embedding_assets.rows.arrow import delta_batch
from embedding_assets.rows.record import metadata_json
from embedding_assets.versions.verify import FLOAT_TOLERANCE
from embedding_assets_tests.deltas import matrix
from embedding_assets_tests.reference import Expected

NAME = "lines"
TEXT_INDEX = "embedding_fulltext_search"
ROWS_IN_A_BATCH = 7
"""Small, so that a few records are several batches."""

HEADER_FIELDS = (
    "offsetLevel0_",
    "max_elements_",
    "cur_element_count",
    "size_data_per_element_",
    "label_offset_",
    "offsetData_",
    "maxlevel_",
    "enterpoint_node_",
    "maxM_",
    "maxM0_",
    "M_",
    "mult_",
    "ef_construction_",
)
"""As hnswlib's own `saveIndex` calls and orders them."""


def chroma_rows(wanted: Sequence[Expected]) -> ChromaRows:
    """Records as Chroma takes them."""
    return ChromaRows(
        [one.id for one in wanted],
        matrix(wanted),
        [one.document for one in wanted],
        [one.metadata for one in wanted],
    )


def batches(wanted: Sequence[Expected], size: int = ROWS_IN_A_BATCH) -> list[pa.RecordBatch]:
    """Records as the direct writer takes them."""
    parts = [wanted[start : start + size] for start in range(0, len(wanted), size)]
    return [
        delta_batch(
            [one.id for one in part],
            matrix(part),
            [one.document for one in part],
            [metadata_json(one.metadata) for one in part],
            [None] * len(part),
        )
        for part in parts
    ]


def write_by_chroma(directory: Path, wanted: Sequence[Expected], space: Space = "l2") -> None:
    """One session of Chroma's writer."""
    with ChromaWriter(directory, NAME, space, len(wanted)) as writer:
        writer.add(chroma_rows(wanted))


def write_direct(
    directory: Path, wanted: Sequence[Expected], space: Space = "l2", size: int = ROWS_IN_A_BATCH
) -> DirectlyWritten:
    """The direct writer, with nobody who stops it."""
    return write_directly(directory, NAME, space, lambda: batches(wanted, size), lambda: None)


@dataclass(frozen=True)
class Both:
    """Two directories of the same records, written in the same order."""

    direct: Path
    chroma: Path
    written: DirectlyWritten = field(repr=False)


def write_both(folder: Path, wanted: Sequence[Expected], space: Space = "l2", size: int = ROWS_IN_A_BATCH) -> Both:
    """Write with both. The direct writer begins with its seeds: Chroma then gets the order that came of it."""
    written = write_direct(folder / "direct", wanted, space, size)
    by_id = {one.id: one for one in wanted}
    with closing(sqlite3.connect(folder / "direct" / "chroma.sqlite3")) as connection:
        ids = [name for (name,) in connection.execute("SELECT embedding_id FROM embeddings ORDER BY id")]
    assert sorted(ids) == sorted(by_id)
    write_by_chroma(folder / "chroma", [by_id[record_id] for record_id in ids], space)
    return Both(folder / "direct", folder / "chroma", written)


def graph_file(directory: Path, name: str) -> Path:
    """The one file of that name in a Chroma directory."""
    [path] = directory.glob(f"*/{name}")
    return path


def ids_by_label(directory: Path) -> dict[str, Any]:
    """The pickle beside the graph."""
    told: dict[str, Any] = pickle.loads(graph_file(directory, IDS_FILE).read_bytes())
    return told


def header(directory: Path) -> dict[str, float]:
    """hnswlib's header, every field by its name."""
    kinds = np.dtype([(name, kind) for name, kind in zip(HEADER_FIELDS, "QQQQQQiIQQQdQ", strict=True)])
    data = graph_file(directory, HEADER_FILE).read_bytes()
    assert data[:4] == b"\1\0\0\0"
    return dict(zip(HEADER_FIELDS, np.frombuffer(data[4:], kinds)[0].tolist(), strict=True))


def elements_size(directory: Path) -> int:
    """Bytes of `data_level0.bin`."""
    return graph_file(directory, ELEMENTS_FILE).stat().st_size


def tables(directory: Path) -> dict[str, Any]:
    """Every table, without what differs between any two of Chroma's own: uuids, instants, order of rows.

    The text search keeps its index in a tree whose shape depends on how many rows came at once: it is read
    term by term, with place, as SQLite's own vocabulary table tells it.
    """
    with closing(sqlite3.connect(directory / "chroma.sqlite3")) as connection:
        told = connection.execute("SELECT id FROM collections UNION ALL SELECT id FROM segments ORDER BY 1")
        scopes = dict(connection.execute("SELECT id, scope FROM segments"))
        names = {one: scopes.get(one, "COLLECTION") for (one,) in told}
        listed = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        found = {name: _table(connection, name, names) for (name,) in listed if not _is_of_the_tree(name)}
        connection.execute(f"INSERT INTO {TEXT_INDEX} ({TEXT_INDEX}) VALUES ('integrity-check')")
        connection.execute(f"CREATE VIRTUAL TABLE temp.terms USING fts5vocab(main, {TEXT_INDEX}, instance)")
        found["terms"] = sorted(connection.execute("SELECT term, doc, col, offset FROM terms"))
        return found


def _is_of_the_tree(name: str) -> bool:
    return name in (f"{TEXT_INDEX}_data", f"{TEXT_INDEX}_idx")


def _table(connection: sqlite3.Connection, name: str, names: dict[str, str]) -> list[dict[str, Any]]:
    cursor = connection.execute(f'SELECT * FROM "{name}"')
    columns = [column[0] for column in cursor.description]
    rows = [
        {column: _plain(column, value, names) for column, value in zip(columns, row, strict=True)}
        for row in cursor
    ]
    if name == "acquire_write":
        rows = [{"lock_status": status} for status in {row["lock_status"] for row in rows}]
    return sorted(rows, key=repr)


def _plain(column: str, value: Any, names: dict[str, str]) -> Any:
    if column == "created_at":
        return "then"
    if column in ("schema_str", "config_json_str", "metadata") and value is not None:
        return json.loads(value)
    if isinstance(value, str):
        for uuid, name in names.items():
            value = value.replace(uuid, name)
    return value


def same(one: Any, other: Any) -> bool:
    """Equal, also in type, but for the last bits of a float: Chroma reads them from its queue's JSON inexactly."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=FLOAT_TOLERANCE, abs_tol=0.0)
    return type(one) is type(other) and bool(one == other)


def content(directory: Path) -> dict[str, tuple[bytes, str | None, dict[str, Any] | None]]:
    """What Chroma gives back: the vector's bytes, the document and the metadata of each record."""
    with open_collection(directory, NAME) as collection:
        found = {
            record_id: (vector.tobytes(), document, metadata)
            for page in read_rows(collection)
            for record_id, vector, document, metadata in zip(
                page.ids, page.vectors, page.documents, page.metadata, strict=True
            )
        }
        assert collection.count() == len(found)
    return found


def as_content(wanted: Sequence[Expected]) -> dict[str, tuple[bytes, str | None, dict[str, Any] | None]]:
    """What Chroma should give back."""
    vectors = matrix(wanted)
    return {one.id: (row.tobytes(), one.document, one.metadata) for one, row in zip(wanted, vectors, strict=True)}
