"""Chroma directories made to do harm, or damaged: whatever Chroma does with them, one line comes of it."""

from __future__ import annotations

import os
import pickle
import shutil
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from embedding_assets.errors import InputError
from embedding_assets.submission.parts import EmbeddingModel
from embedding_assets.upkeep.import_rows import ROWS_FILE, ForeignIndex, read_imported, write_rows
from embedding_assets_tests.deltas import DIMENSIONS, MODEL, records
from embedding_assets_tests.foreign import foreign
from embedding_assets_tests.upkeep.hostile import blind, graph_index

COUNT = 20
VECTOR = np.full(DIMENSIONS, np.nan, "<f4").tobytes()
Change = Callable[[Path], None]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index with its graph on disk."""
    return graph_index(tmp_path_factory.mktemp("index") / "index", COUNT)


def sql(*statements: str) -> Change:
    """Change the database."""

    def change(directory: Path) -> None:
        with closing(sqlite3.connect(directory / "chroma.sqlite3")) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    return change


def bytes_at(name: str, place: int, data: bytes) -> Change:
    """Overwrite bytes of a file."""

    def change(directory: Path) -> None:
        [path] = directory.rglob(name)
        whole = bytearray(path.read_bytes())
        whole[place : place + len(data)] = data
        path.write_bytes(whole)

    return change


def cut(name: str, size: int) -> Change:
    """Leave the beginning of a file alone."""

    def change(directory: Path) -> None:
        [path] = directory.rglob(name)
        os.truncate(path, size)

    return change


class Command:
    """A pickle of it runs a command when it is read."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {Path.cwd() / 'was-run'}",)


def a_pickle(directory: Path) -> None:
    """Labels and ids in a pickle that runs a command."""
    [path] = directory.rglob("index_metadata.pickle")
    path.write_bytes(pickle.dumps({"id_to_label": {}, "label_to_id": {}, "dimensionality": Command()}))


def endless(table: str) -> Change:
    """A table whose rows never end."""
    renamed = f"ALTER TABLE {table} RENAME TO kept"
    rows = "WITH RECURSIVE n AS (SELECT * FROM kept UNION ALL SELECT * FROM n) SELECT * FROM n"
    return sql("PRAGMA foreign_keys = OFF", renamed, f"CREATE VIEW {table} AS {rows}")


DAMAGED: dict[str, tuple[Change, str]] = {
    "a pickle that runs a command": (a_pickle, "cannot be read"),
    "a cut pickle": (cut("index_metadata.pickle", 9), "cannot be read"),
    "a cut graph": (cut("data_level0.bin", 99), "shorter than its header says"),
    "a graph without bytes": (cut("data_level0.bin", 0), "shorter than its header says"),
    "more elements than there are": (
        bytes_at("header.bin", 20, struct.pack("<Q", 2**40)),
        "shorter than its header",
    ),
    "a cut header": (cut("header.bin", 10), "cannot be read"),
    "a collection of other dimensions": (
        sql("UPDATE collections SET dimension = 3"),
        "8 dimensions, its collection 3",
    ),
    "a collection of no dimensions": (sql("UPDATE collections SET dimension = -3"), "no dimensions that could be"),
    "huge dimensions": (sql("UPDATE collections SET dimension = 1000000000"), "its collection 1000000000"),
    "endless records": (endless("embeddings"), "has a view, a trigger or a virtual table, 'embeddings'"),
    "endless collections": (endless("collections"), "has a view, a trigger or a virtual table, 'collections'"),
    "a trigger": (
        sql("CREATE TRIGGER t AFTER INSERT ON tenants BEGIN DELETE FROM embeddings; END"),
        "has a view, a trigger or a virtual table, 't'",
    ),
    "noise in the database": (bytes_at("chroma.sqlite3", 40_000, bytes(range(256)) * 100), "its database"),
    "half a database": (cut("chroma.sqlite3", 60_000), "its database"),
    "no table": (sql("DROP TABLE embeddings"), "no such table"),
    "another database": (
        lambda directory: (directory / "chroma.sqlite3").unlink() or sql("CREATE TABLE t (x)")(directory),  # type: ignore[func-returns-value]
        "it has the collections none",
    ),
    "an id that is no text": (sql("UPDATE embeddings SET embedding_id = x'ff80' WHERE id = 1"), "cannot be read"),
    "an id without letters": (sql("UPDATE embeddings SET embedding_id = '' WHERE id = 1"), "cannot be read"),
    "an id without a vector": (sql("UPDATE embeddings SET embedding_id = 'x' WHERE id = 1"), "cannot be read"),
    "an infinity": (
        sql("INSERT INTO embedding_metadata (id, key, float_value) VALUES (1, 'far', 9e999)"),
        "metadata 'far' is inf",
    ),
    "a reserved key": (
        sql("INSERT INTO embedding_metadata (id, key, int_value) VALUES (1, '$and', 1)"),
        "is reserved by Chroma",
    ),
}


def reading(directory: Path) -> ForeignIndex:
    """To be read as it is."""
    return ForeignIndex(directory, None, EmbeddingModel(MODEL, DIMENSIONS))


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_index(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """One line, no command run."""
    monkeypatch.chdir(tmp_path)
    change, error = DAMAGED[name]
    copy = Path(shutil.copytree(index, tmp_path / "copy"))
    change(copy)
    with pytest.raises(InputError, match=error) as raised:
        write_rows(reading(copy), tmp_path / ROWS_FILE, lambda line: None)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "was-run").exists()


def test_a_vector_of_nan(tmp_path: Path) -> None:
    """Chroma refuses to store one; a database may have it."""
    directory = foreign(tmp_path / "index", records("r", 3))
    with closing(sqlite3.connect(directory / "chroma.sqlite3")) as connection:
        connection.execute("UPDATE embeddings_queue SET vector = ? WHERE seq_id = 2", (VECTOR,))
        connection.commit()
    with pytest.raises(InputError, match="one with NaN or an infinity"):
        write_rows(reading(directory), tmp_path / ROWS_FILE, lambda line: None)


def test_what_ends_the_process_is_one_line(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chroma follows a header out of its memory; what our own checks would find is not looked at here."""
    copy = Path(shutil.copytree(index, tmp_path / "copy"))
    bytes_at("header.bin", 20, struct.pack("<Q", 2**40))(copy)
    monkeypatch.setenv("PYTHONPATH", str(blind(tmp_path / "blind")))
    with pytest.raises(InputError, match=r"^it cannot be read: the process that read it ended with SIG[A-Z]+$"):
        read_imported(reading(copy), None, tmp_path, lambda line: None)


def test_read_apart_it_is_the_same(index: Path, tmp_path: Path) -> None:
    """The process of its own gives the rows that this one would."""
    apart = tmp_path / "apart"
    apart.mkdir()
    rows = read_imported(reading(Path(shutil.copytree(index, tmp_path / "one"))), None, apart, print)
    here = tmp_path / "here"
    digest = write_rows(reading(Path(shutil.copytree(index, tmp_path / "two"))), here / ROWS_FILE, print)
    assert (rows.count, rows.name) == (COUNT, f"import-{digest[:12]}")
    assert (apart / ROWS_FILE).read_bytes() == (here / ROWS_FILE).read_bytes()
