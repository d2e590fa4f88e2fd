"""Snapshot directories as sources of rows: both formats, ours and foreign, give the same rows."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Literal

import chromadb
import numpy as np
import pyarrow as pa
import pytest
from chromadb.config import Settings as ChromaSettings

from embedding_assets.chroma.row_source import ARROW_FILE, CHROMA_FILE, SIDECAR, open_source, pack
from embedding_assets.errors import DamagedError, EmbeddingAssetsError, MismatchError
from embedding_assets.rows.arrow import Provenance, RowWriter
from embedding_assets.rows.snapshot_directory import Format
from embedding_assets_tests.deltas import NOON, matrix, record, records, write_delta
from embedding_assets_tests.reference import Expected, reference_hash

PROVENANCE = Provenance("foreign", NOON, 0)
ODD_FLOATS = [0.1 + 0.2, 1 / 3, 1e-300, 123456789.123456789, 2.0, -0.0, 6.02214076e23]


def odd_records() -> list[Expected]:
    """Records with everything that a store may get wrong."""
    return [
        record("plain", 1, "text", {"a": 1}),
        record("no document", 2, None, {"s": "x", "b": True, "l": ["x", "y"]}),
        record("no metadata", 3, "text", None),
        record("neither", 4, None, None),
        record("empty document", 5, "", {"n": 0, "e": ""}),
        record("unicode \U0001f600", 6, "東京\u2028\n", {"ключ": "ä"}),
        *(record(f"float {number}", 7 + number, "t", {"f": value}) for number, value in enumerate(ODD_FLOATS)),
    ]


def foreign_chroma(directory: Path, wanted: list[Expected], name: str = "lines", **collection: Any) -> None:
    """A Chroma directory as another program writes one: no manifest, nothing beside it."""
    client: Any = chromadb.PersistentClient(str(directory), settings=ChromaSettings(anonymized_telemetry=False))
    made = client.create_collection(name, embedding_function=None, **collection)
    if wanted:
        made.add(
            ids=[one.id for one in wanted],
            embeddings=matrix(wanted),
            documents=[one.document for one in wanted],
            metadatas=[one.metadata for one in wanted],
        )
    client.close()


def rows_of(directory: Path, collection: str | None = "lines") -> dict[str, dict[str, Any]]:
    """All rows by id."""
    opened = open_source(directory, collection, PROVENANCE)
    rows = [row for batch in opened.batches() for row in batch.to_pylist()]
    assert len({row["id"] for row in rows}) == len(rows) == opened.file.count
    return {row["id"]: row for row in rows}


@pytest.mark.parametrize("form", ["arrow", "chroma"])
def test_a_snapshot_gives_back_what_was_written(tmp_path: Path, form: Format) -> None:
    """Either format keeps vectors, documents, metadata (floats too) and hashes exactly."""
    wanted = odd_records()
    directory = tmp_path / "delta"
    write_delta(directory / ARROW_FILE, wanted)
    pack(directory, form, "lines")
    there = {path.name for path in directory.iterdir()}
    assert (ARROW_FILE in there) is (form == "arrow")
    assert ({SIDECAR, CHROMA_FILE} <= there) is (form == "chroma")
    rows = rows_of(directory)
    assert rows.keys() == {one.id for one in wanted}
    for one in wanted:
        assert rows[one.id]["hash"] == reference_hash(one)
        assert rows[one.id]["document"] == one.document
        assert tuple(rows[one.id]["vector"]) == one.vector
        assert rows[one.id]["batch_id"] == "foreign"


@pytest.mark.parametrize("count", [1, 1500])
def test_a_packed_snapshot_has_every_row(tmp_path: Path, count: int) -> None:
    """More rows than one record batch holds, and a single one."""
    wanted = records("r", count)
    directory = tmp_path / "delta"
    write_delta(directory / ARROW_FILE, wanted)
    pack(directory, "chroma", "lines")
    rows = rows_of(directory)
    assert {name: row["hash"] for name, row in rows.items()} == {one.id: reference_hash(one) for one in wanted}


@pytest.mark.parametrize("space", ["l2", "ip"])
def test_a_foreign_chroma_directory_is_read(tmp_path: Path, space: str) -> None:
    """A delta that another program wrote with chromadb alone counts as it is, with its exact vectors."""
    wanted = [one for one in odd_records() if not one.id.startswith("float")]
    foreign_chroma(tmp_path / "delta", wanted, configuration={"hnsw": {"space": space}})
    rows = rows_of(tmp_path / "delta")
    assert {name: row["hash"] for name, row in rows.items()} == {one.id: reference_hash(one) for one in wanted}
    assert {row["input_sha256"] for row in rows.values()} == {None}


def test_a_foreign_chroma_directory_of_many_pages_is_read(tmp_path: Path) -> None:
    """More rows than one page of Chroma: every row once."""
    directory = tmp_path / "delta"
    wanted = records("r", 5300)
    foreign_chroma(directory, wanted)
    rows = rows_of(directory)
    assert {name: row["hash"] for name, row in rows.items()} == {one.id: reference_hash(one) for one in wanted}


def test_a_foreign_collection_of_another_name_is_read(tmp_path: Path) -> None:
    """The only collection there is counts, whatever its name."""
    foreign_chroma(tmp_path / "delta", records("r", 3), name="receipt_lines")
    assert len(rows_of(tmp_path / "delta")) == 3
    shutil.copytree(tmp_path / "delta", tmp_path / "again")
    assert len(rows_of(tmp_path / "again", None)) == 3


@pytest.mark.parametrize(
    "collection",
    [{"configuration": {"hnsw": {"space": "cosine"}}}, {"metadata": {"hnsw:space": "cosine"}}],
    ids=["configuration", "legacy metadata"],
)
def test_cosine_is_refused(tmp_path: Path, collection: dict[str, Any]) -> None:
    """Under cosine Chroma has changed the vectors: they are not what OpenAI delivered."""
    foreign_chroma(tmp_path / "delta", records("r", 3), **collection)
    with pytest.raises(MismatchError, match="cosine"):
        open_source(tmp_path / "delta", "lines", PROVENANCE)


def test_a_directory_of_two_collections_needs_the_right_name(tmp_path: Path) -> None:
    """Nobody guesses which of two collections was meant."""
    directory = tmp_path / "delta"
    foreign_chroma(directory, records("r", 3), name="one")
    shutil.copytree(directory, tmp_path / "two")
    foreign_chroma(tmp_path / "two", records("s", 2), name="other")
    shutil.copytree(tmp_path / "two", tmp_path / "named")
    assert len(rows_of(tmp_path / "named", "other")) == 2
    with pytest.raises(DamagedError, match="lines"):
        open_source(tmp_path / "two", "lines", PROVENANCE)


def test_an_empty_directory_is_damaged(tmp_path: Path) -> None:
    """Neither format is there."""
    with pytest.raises(DamagedError):
        open_source(tmp_path, "lines", PROVENANCE)


def test_an_empty_collection_is_damaged(tmp_path: Path) -> None:
    """A delta without a row is none: a batch without embeddings has no delta."""
    foreign_chroma(tmp_path / "delta", [])
    with pytest.raises(DamagedError, match="empty"):
        open_source(tmp_path / "delta", "lines", PROVENANCE)


@pytest.mark.parametrize("victim", ["chroma.sqlite3", "data_level0.bin", "header.bin"])
def test_a_broken_chroma_delta_is_told_as_ours(tmp_path: Path, victim: str) -> None:
    """Whatever is broken in a Chroma delta, the error is of this package, so that it counts against its batch."""
    directory = tmp_path / "delta"
    foreign_chroma(directory, records("r", 1200), configuration={"hnsw": {"sync_threshold": 1000}})
    [path] = directory.rglob(victim)
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(EmbeddingAssetsError):
        open_source(directory, "lines", PROVENANCE)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_a_foreign_arrow_delta_is_read(tmp_path: Path, kind: pa.DataType) -> None:
    """id, vector, document and metadata alone are enough; metadata need not be canonical."""
    wanted = [record("a", 1, "text", {"x": 1, "y": "ä"}), record("b", 2, None, None)]
    flat = pa.array(matrix(wanted).reshape(-1))
    columns = [
        pa.array(["a", "b"], pa.string()),
        pa.FixedSizeListArray.from_arrays(flat, 8),
        pa.array(["text", None], kind),
        pa.array(['{"y": "\\u00e4", "x": 1}', None], kind),
    ]
    batch = pa.RecordBatch.from_arrays(columns, names=["id", "vector", "document", "metadata"])
    with RowWriter(tmp_path / "delta" / ARROW_FILE, batch.schema) as writer:
        writer.write(batch)
    rows = rows_of(tmp_path / "delta")
    assert {name: row["hash"] for name, row in rows.items()} == {one.id: reference_hash(one) for one in wanted}


@pytest.mark.parametrize("wrong", ["float64", "variable", "none"])
def test_vectors_of_another_type_are_refused(
    tmp_path: Path, wrong: Literal["float64", "variable", "none"]
) -> None:
    """Vectors are fixed-size lists of float32: anything else would be merged as something else."""
    columns = {
        "float64": pa.array([[1.0, 2.0]], pa.list_(pa.float64(), 2)),
        "variable": pa.array([np.ones(2, dtype=np.float32)], pa.list_(pa.float32())),
    }
    names = ["id"] + (["vector"] if wrong in columns else [])
    arrays = [pa.array(["a"])] + ([columns[wrong]] if wrong in columns else [])
    batch = pa.RecordBatch.from_arrays(arrays, names=names)
    with RowWriter(tmp_path / "delta" / ARROW_FILE, batch.schema) as writer:
        writer.write(batch)
    with pytest.raises(DamagedError, match="vector"):
        open_source(tmp_path / "delta", "lines", PROVENANCE)
