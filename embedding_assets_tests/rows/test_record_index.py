"""The record index: ordered, reproducible, and enough for the content digest."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from embedding_assets.errors import DamagedError
from embedding_assets.rows.arrow import RowWriter
from embedding_assets.rows.record_index import (
    SCHEMA,
    alive,
    digest_of,
    empty_index,
    read_index,
    sample,
    sort_index,
    write_index,
)
from embedding_assets.rows.snapshot_directory import file_sha256
from embedding_assets_tests.deltas import NOON, record
from embedding_assets_tests.reference import Expected, reference_digest, reference_hash

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
NAMES = ["b", "a", "\U0001f600", "\uff5e", "ä", "Z"]


def index_of(wanted: list[Expected], tombstones: list[str]) -> pa.Table:
    rows = [
        {
            "id": one.id,
            "hash": reference_hash(one),
            "batch_id": "batch",
            "precedence_at": NOON,
            "input_sha256": None,
            "metadata": None,
        }
        for one in wanted
    ]
    rows += [{**rows[0], "id": name, "hash": None} for name in tombstones]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def test_an_index_comes_back_in_utf8_order(tmp_path: Path) -> None:
    """Order of the UTF-8 bytes, whatever the order of writing; tombstones stay and do not count."""
    wanted = [record(name, number) for number, name in enumerate(NAMES)]
    write_index(index_of(wanted, ["gone"]), tmp_path / "records.arrow")
    back = read_index(tmp_path / "records.arrow")
    assert back.column("id").to_pylist() == sorted([*NAMES, "gone"], key=lambda name: name.encode())
    assert sorted(alive(back).column("id").to_pylist()) == sorted(NAMES)
    assert digest_of(back) == reference_digest(wanted)


def test_equal_indexes_give_equal_bytes(tmp_path: Path) -> None:
    """An index that did not change is not uploaded again: its bytes may not depend on how it came about."""
    table = index_of([record(name, number) for number, name in enumerate(NAMES * 1)], [])
    pieces = pa.concat_tables([table.slice(3), table.slice(0, 3)])
    write_index(table, tmp_path / "one")
    write_index(pieces, tmp_path / "two")
    assert file_sha256(tmp_path / "one") == file_sha256(tmp_path / "two")
    assert sort_index(table).equals(sort_index(pieces))


def test_an_empty_index_is_one(tmp_path: Path) -> None:
    """A database without records has an index of no rows."""
    write_index(empty_index(), tmp_path / "records.arrow")
    assert read_index(tmp_path / "records.arrow").num_rows == 0


def test_a_sample_is_reproducible_and_of_the_asked_size() -> None:
    """The same seed looks at the same records; all of them if there are few."""
    ids = [f"r{number}" for number in range(5000)]
    assert sample(ids, 1000, 1) == sample(ids, 1000, 1)
    assert sample(ids, 1000, 1) != sample(ids, 1000, 2)
    assert len(set(sample(ids, 1000, 1))) == 1000
    assert sample(ids[:10], 1000, 1) == ids[:10]


def test_an_index_is_compressed_and_a_plain_one_is_read(tmp_path: Path) -> None:
    """Versions of before have plain indexes; what is published again would else go up whole."""
    table = sort_index(index_of([record(f"receipt-{number:06}", 1) for number in range(2_000)], []))
    write_index(table, tmp_path / "records.arrow")
    with RowWriter(tmp_path / "plain.arrow", SCHEMA) as writer:
        writer.write_all(table.to_batches())
    assert read_index(tmp_path / "plain.arrow").equals(read_index(tmp_path / "records.arrow"))
    compressed, plain = ((tmp_path / name).stat().st_size for name in ("records.arrow", "plain.arrow"))
    assert 2 * (compressed - 32 * table.num_rows) < plain - 32 * table.num_rows, "hashes of records are random"


def test_damage_in_a_compressed_index_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "records.arrow"
    write_index(index_of([record(f"receipt-{number:06}", number) for number in range(2_000)], []), path)
    frames = path.read_bytes().replace(ZSTD_MAGIC, bytes(len(ZSTD_MAGIC)))
    path.write_bytes(frames)
    with pytest.raises(DamagedError) as error:
        read_index(path)
    assert "\n" not in str(error.value)
    assert "records.arrow is not a record index" in str(error.value)
