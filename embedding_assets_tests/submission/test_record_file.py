"""Files of records: read line by line, and refused by line and reason."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedding_assets.errors import InputError
from embedding_assets.submission.record_file import STANDARD_INPUT, Record, read_ids, read_records
from embedding_assets_tests.answers import line

VALUES: list[dict[str, Any]] = [
    {"id": "a", "text": "first", "document": "d", "metadata": {"n": 1, "k": "ä"}},
    {"id": "東京/b", "text": "second"},
]


def jsonl(tmp_path: Path, *values: dict[str, Any], name: str = "in.jsonl") -> Path:
    path = tmp_path / name
    path.write_text("".join(map(line, values)), encoding="utf-8")
    return path


def test_jsonl_and_parquet_are_the_same(tmp_path: Path) -> None:
    """Document defaults to the text; metadata is canonical; tokens are counted."""
    rows = pa.table(
        {
            "id": [value["id"] for value in VALUES],
            "text": [value["text"] for value in VALUES],
            "document": [value.get("document") for value in VALUES],
            "metadata": [value.get("metadata") for value in VALUES],
        }
    )
    pq.write_table(rows, tmp_path / "in.parquet")
    found = list(read_records(jsonl(tmp_path, *VALUES)))
    assert found == list(read_records(tmp_path / "in.parquet"))
    assert found == [
        Record("a", "first", "d", '{"k":"ä","n":1}', 1),
        Record("東京/b", "second", "second", None, 1),
    ]


def strings(*values: bytes) -> pa.Array:
    """A column of text that holds any bytes, as other programs write them."""
    column = pa.array(values, pa.binary())
    return pa.StringArray.from_buffers(len(values), column.buffers()[1], column.buffers()[2])


def metadata_of(kind: pa.DataType) -> pa.Array:
    return pa.array([{"at": None}, {"at": 1_700_000_000_000_001}], pa.struct([("at", kind)]))


UNREADABLE: dict[str, tuple[dict[str, Any], str]] = {
    "text that is no UTF-8": ({"text": strings(b"x", b"\xff")}, "line 2: text cannot be read: 'utf-8'"),
    "id that is no UTF-8": ({"id": strings(b"a", b"\xff")}, "line 2: id cannot be read: 'utf-8'"),
    "nanoseconds": (
        {"metadata": metadata_of(pa.timestamp("ns"))},
        "line 2: metadata cannot be read: a time must be written as text",
    ),
    "microseconds": ({"metadata": metadata_of(pa.timestamp("us"))}, "line 2: metadata 'at' must be text"),
    "bytes": ({"text": pa.array([b"x", b"y"], pa.binary())}, "line 1: text must be text"),
    "numbers": ({"id": [1, 2]}, "line 1: id must be text"),
    "pairs": (
        {"metadata": pa.array([None, [("k", "v")]], pa.map_(pa.string(), pa.string()))},
        "line 2: metadata must be an object",
    ),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_values_of_a_parquet_file_that_cannot_be_read(tmp_path: Path, kind: str) -> None:
    """One line that names the file, the row and the column."""
    columns, why = UNREADABLE[kind]
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"id": ["a", "b"], "text": ["x", "y"], **columns}), path)
    with pytest.raises(InputError) as raised:
        list(read_records(path))
    assert str(raised.value).startswith(f"{path} {why}")
    assert len(str(raised.value).splitlines()) == 1


def test_only_the_fields_of_a_record_are_read_of_a_parquet_file(tmp_path: Path) -> None:
    """Other columns may hold what they like: times with nanoseconds, bytes that are no text."""
    others = {"at": pa.array([1, 2], pa.timestamp("ns")), "note": strings(b"\xff", b"\xff")}
    pq.write_table(pa.table({"id": ["a", "b"], "text": ["x", "y"], **others}), tmp_path / "in.parquet")
    assert [record.id for record in read_records(tmp_path / "in.parquet")] == ["a", "b"]


@pytest.mark.parametrize("name", ["IN.PARQUET", "in.Parquet", "part-0000"])
def test_parquet_under_any_name(tmp_path: Path, name: str) -> None:
    """In capitals, or known by how it begins."""
    pq.write_table(pa.table({"id": ["a"], "text": ["x"]}), tmp_path / name)
    assert [record.id for record in read_records(tmp_path / name)] == ["a"]


def test_damaged_parquet_is_one_line(tmp_path: Path) -> None:
    """Cut, flipped, of two columns with one name."""
    whole = tmp_path / "whole.parquet"
    pq.write_table(
        pa.table({"id": [f"r{n}" for n in range(999)], "text": [f"{n}" * 50 for n in range(999)]}), whole
    )
    data = whole.read_bytes()
    (tmp_path / "cut.parquet").write_bytes(data[:900])
    (tmp_path / "flipped.parquet").write_bytes(
        data[:100] + bytes(255 - byte for byte in data[100:3000]) + data[3000:]
    )
    pq.write_table(pa.table([["a"], ["b"], ["t"]], names=["id", "id", "text"]), tmp_path / "twice.parquet")
    for name in ("cut", "flipped", "twice"):
        path = tmp_path / f"{name}.parquet"
        with pytest.raises(InputError) as raised:
            list(read_records(path))
        assert str(raised.value).startswith(str(path))
        assert len(str(raised.value).splitlines()) == 1


class Piped(io.BytesIO):
    """What comes through a pipe: it can be read once."""

    def seekable(self) -> bool:
        return False


def standard_input(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(Piped(data))))


@pytest.mark.parametrize("name", ["in.jsonl", "in.parquet"])
def test_standard_input_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Records in either format, and ids; a broken line is named as that of standard input."""
    if name == "in.parquet":
        pq.write_table(pa.table({"id": ["a", "b"], "text": ["x", "y"]}), tmp_path / name)
    else:
        (tmp_path / name).write_text(
            '\ufeff{"id": "a", "text": "x"}\n\n{"id": "b", "text": "y"}', encoding="utf-8"
        )
    standard_input(monkeypatch, (tmp_path / name).read_bytes())
    assert [(record.id, record.text) for record in read_records(STANDARD_INPUT)] == [("a", "x"), ("b", "y")]
    standard_input(monkeypatch, b"a\nb\n")
    assert read_ids(STANDARD_INPUT) == ["a", "b"]
    for data, why in ((b"\n{", "standard input line 2 is not JSON"), (b"", "standard input has no records")):
        standard_input(monkeypatch, data)
        with pytest.raises(InputError, match=why):
            list(read_records(STANDARD_INPUT))


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("{", "JSON"),
        ("[]", "object"),
        ('{"text": "t"}', "id"),
        ('{"id": "", "text": "t"}', "id"),
        ('{"id": 7, "text": "t"}', "id"),
        ('{"id": "x"}', "text"),
        ('{"id": "x", "text": ""}', "text"),
        ('{"id": "x", "text": "t", "document": 7}', "document"),
        ('{"id": "x", "text": "t", "metadata": {"$a": 1}}', "'$a'"),
        ('{"id": "x", "text": "t", "metadata": {"a": 18446744073709551616}}', "'a'"),
        ('{"id": "x", "text": "' + "word " * 8300 + '"}', "8192"),
        ('{"id": "first", "text": "t"}', "'first'"),
    ],
    ids=lambda value: value[:40],
)
def test_a_broken_line_refuses_the_file(tmp_path: Path, broken: str, why: str) -> None:
    """In one line that names the file, the line and what is wrong."""
    path = tmp_path / "in.jsonl"
    path.write_text(line({"id": "first", "text": "t"}) + "\n" + broken + "\n", encoding="utf-8")
    with pytest.raises(InputError) as raised:
        list(read_records(path))
    assert f"{path} line 3" in str(raised.value)
    assert why in str(raised.value).split("line 3", 1)[1]
    assert len(str(raised.value).splitlines()) == 1


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """Missing, empty, or no Parquet."""
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "no.parquet").write_text("text")
    for name, why in (("missing.jsonl", "No such file"), ("empty.jsonl", "no records"), ("no.parquet", "Parquet")):
        with pytest.raises(InputError, match=why) as raised:
            list(read_records(tmp_path / name))
        assert name in str(raised.value)


def test_ids_as_lines(tmp_path: Path) -> None:
    """As they are, as JSON text for the unusual, or as records."""
    path = tmp_path / "ids"
    path.write_bytes('plain\r\n with blanks \n\n"a\\nb"\n{"id": "東京/b", "text": "t"}\n'.encode())
    assert read_ids(path) == ["plain", " with blanks ", "a\nb", "東京/b"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "has no ids"),
        (b"a\na\n", "line 2: the id 'a' stands in line 1"),
        (b'a\n{"text": "t"}\n', "line 2: id must be text"),
        (b'""\n', "line 1: id must be text and not empty"),
        (b"\xff\n", "line 1 is not UTF-8"),
        (b'{"id"\n', "line 1 is not JSON"),
    ],
)
def test_ids_that_cannot_be_read(tmp_path: Path, content: bytes, why: str) -> None:
    """Named by file, line and reason."""
    path = tmp_path / "ids"
    path.write_bytes(content)
    with pytest.raises(InputError, match=why) as raised:
        read_ids(path)
    assert str(path) in str(raised.value)
    with pytest.raises(InputError, match="No such file"):
        read_ids(tmp_path / "missing")


def test_a_byte_order_mark_is_no_part_of_the_first_record(tmp_path: Path) -> None:
    """Some editors write one."""
    path = tmp_path / "in.jsonl"
    path.write_text('{"id": "a", "text": "t"}\n', encoding="utf-8-sig")
    assert [record.id for record in read_records(path)] == ["a"]
