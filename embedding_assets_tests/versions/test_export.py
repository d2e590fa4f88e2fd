"""A version as Parquet: every record, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedding_assets.errors import DamagedError, InputError
from embedding_assets.versions.export import COLUMNS, export
from embedding_assets_tests.deltas import DIMENSIONS, at, record, records
from embedding_assets_tests.executions.conftest import Workbench
from embedding_assets_tests.executions.conftest import bench as bench


def test_every_record_with_its_vector_and_batch(bench: Workbench, tmp_path: Path) -> None:
    """Vectors bit for bit, metadata as it was sent; nothing is replaced that was not meant to be."""
    some = [*records("r", 5), record("list", 9, None, {"tags": ["a", "b"], "score": 0.1})]
    bench.merge([bench.batch("one", some[:3]), bench.batch("two", some[3:], at(1))], 1)
    path = tmp_path / "new" / "lines.parquet"
    manifest = bench.pointer().manifest
    assert export(bench.store, manifest, path) == 6
    table = pq.read_table(path)
    assert table.column_names == list(COLUMNS)
    assert table.schema.field("vector").type == pa.list_(pa.float32(), DIMENSIONS)
    rows = {row["id"]: row for row in table.to_pylist()}
    for number, one in enumerate(some):
        row = rows[one.id]
        assert (tuple(row["vector"]), row["document"]) == (one.vector, one.document)
        assert json.loads(row["metadata"]) == one.metadata
        assert row["batch_id"] == ("one" if number < 3 else "two")
    with pytest.raises(InputError, match="is there already"):
        export(bench.store, manifest, path)
    assert export(bench.store, manifest, path, overwrite=True) == 6


def test_a_version_without_records(bench: Workbench, tmp_path: Path) -> None:
    """A file without rows."""
    bench.merge([bench.batch("one", records("r", 2))], 1)
    bench.merge([bench.deletions("gone", ["r0", "r1"], at(1))], 2)
    assert export(bench.store, bench.pointer().manifest, tmp_path / "none.parquet") == 0
    assert pq.read_table(tmp_path / "none.parquet").num_rows == 0


def test_a_damaged_version_leaves_no_file(bench: Workbench, tmp_path: Path) -> None:
    """Nor what was there before in pieces."""
    bench.merge([bench.batch("one", records("r", 2))], 1)
    manifest = bench.pointer().manifest
    bench.store.put(manifest.files[0].key, b"damaged")
    folder = tmp_path / "out"
    with pytest.raises(DamagedError):
        export(bench.store, manifest, folder / "lines.parquet")
    assert list(folder.iterdir()) == []
