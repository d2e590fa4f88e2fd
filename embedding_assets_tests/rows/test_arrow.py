"""Rows on disk: what goes in comes out, bit for bit, and equal rows give equal bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embedding_assets.errors import DamagedError
from embedding_assets.rows.arrow import ROWS_AT_ONCE, RowFile, vectors_of
from embedding_assets.rows.snapshot_directory import file_sha256
from embedding_assets_tests.deltas import at, matrix, record, records, source, write_delta
from embedding_assets_tests.reference import reference_hash


def test_rows_come_back_with_hash_and_provenance(tmp_path: Path) -> None:
    """A delta's rows get the provenance that they are opened with; hash and vector are those of the contract."""
    wanted = [record("a", 1, "text", {"f": 0.1, "s": "ä"}), record("b", 2, None, None), record("c", 3, "", None)]
    opened = source(tmp_path / "delta.arrow", wanted, "batch-1", at(1), 4)
    [batch] = opened.batches()
    assert batch.column("id").to_pylist() == ["a", "b", "c"]
    assert vectors_of(batch).tobytes() == matrix(wanted).tobytes()
    assert batch.column("document").to_pylist() == ["text", None, ""]
    assert batch.column("metadata").to_pylist() == ['{"f":0.1,"s":"ä"}', None, None]
    assert batch.column("hash").to_pylist() == [reference_hash(one) for one in wanted]
    assert set(batch.column("batch_id").to_pylist()) == {"batch-1"}
    assert set(batch.column("precedence_at").to_pylist()) == {at(1)}
    assert set(batch.column("generation").to_pylist()) == {4}


def test_equal_rows_give_equal_bytes(tmp_path: Path) -> None:
    """A delta written twice is one and the same file: its id may stand for its content."""
    for name in ("one", "two"):
        write_delta(tmp_path / name, records("r", 50))
    assert file_sha256(tmp_path / "one") == file_sha256(tmp_path / "two")


def test_batches_are_the_same_at_every_call_and_of_bounded_size(tmp_path: Path) -> None:
    """A source is read twice, keys first: both readings must give the same rows in the same order."""
    wanted = records("r", 2 * ROWS_AT_ONCE + 3)
    opened = source(tmp_path / "delta.arrow", wanted)
    first, second = ([batch.column("id").to_pylist() for batch in opened.batches()] for _ in range(2))
    assert first == second
    assert [len(ids) for ids in first] == [ROWS_AT_ONCE, ROWS_AT_ONCE, 3]
    assert [name for ids in first for name in ids] == [one.id for one in wanted]
    assert opened.file.count == len(wanted)


def test_a_slice_of_rows_keeps_its_own_vectors(tmp_path: Path) -> None:
    """Arrow slices share their parent's memory: the vectors of a slice are not those of its beginning."""
    wanted = records("r", 5)
    opened = source(tmp_path / "delta.arrow", wanted)
    [batch] = opened.batches()
    np.testing.assert_array_equal(vectors_of(batch.slice(3, 2)), matrix(wanted[3:]))


@pytest.mark.parametrize("content", [b"", b"not arrow", b"ARROW1\0\0" + b"\0" * 100])
def test_what_is_no_arrow_file_is_damaged(tmp_path: Path, content: bytes) -> None:
    """Bytes that are no Arrow file are told as damage, not as an error of Arrow's."""
    path = tmp_path / "records.arrow"
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=r"records\.arrow"):
        RowFile(path)
