"""Files of records: read line by line, and refused by line and reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedding_assets.errors import InputError
from embedding_assets.submission.record_file import Record, read_ids, read_records
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
