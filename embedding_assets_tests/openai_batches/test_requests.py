"""What was asked for: read from `records/` or OpenAI's input file, refused with file and line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_assets.errors import BatchError
from embedding_assets.openai_batches import requests
from embedding_assets.openai_batches.requests import Request, Requests, read_input_file, read_records
from embedding_assets_tests.answers import input_lines, line
from embedding_assets_tests.deltas import MODEL

NAME = "records/b1.jsonl"


def records(tmp_path: Path, text: str) -> Requests:
    path = tmp_path / "records.jsonl"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return read_records(path, NAME)


def input_file(tmp_path: Path, text: str) -> Requests:
    path = tmp_path / "input.jsonl"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return read_input_file(path, NAME)


def test_records_of_ours(tmp_path: Path) -> None:
    """Document, metadata as canonical JSON, and the hash of what was asked; in the order of the file."""
    text = line({"id": "b", "text": "t", "document": "d", "metadata": {"z": 1, "a": "ä"}, "input_sha256": "0a"})
    found = records(tmp_path, text + "\n\n" + line({"id": "a", "text": "t", "document": "", "metadata": None}))
    assert list(found.by_id.values()) == [
        Request("b", "d", '{"a":"ä","z":1}', "0a", "t"),
        Request("a", "", None, None, "t"),
    ]
    assert (found.model, found.dimensions) == (None, None)


def test_records_of_others(tmp_path: Path) -> None:
    """`id` and `document` are enough; without a document the text is it; fields of others are no error."""
    text = line({"id": "1", "document": "d"}) + line({"id": "2", "text": "t", "more": [1]}) + line({"id": "3"})
    found = records(tmp_path, text)
    assert [(one.id, one.document, one.metadata) for one in found.by_id.values()] == [
        ("1", "d", None),
        ("2", "t", None),
        ("3", None, None),
    ]


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("{", "JSON"),
        ("[]", "object"),
        ('{"document": "d"}', "id"),
        ('{"id": "", "document": "d"}', "id"),
        ('{"id": 1, "document": "d"}', "id"),
        ('{"id": "\\ud800", "document": "d"}', "id"),
        ('{"id": "x", "document": 1}', "document"),
        ('{"id": "x", "document": "\\ud800"}', "document"),
        ('{"id": "x", "document": "d", "metadata": []}', "metadata"),
        ('{"id": "x", "document": "d", "metadata": {"": 1}}', "metadata"),
        ('{"id": "x", "document": "d", "metadata": {"a": NaN}}', "'a'"),
        ('{"id": "x", "document": "d", "metadata": {"a": {"b": 1}}}', "'a'"),
        ('{"id": "x", "document": "d", "metadata": {"a": 9223372036854775808}}', "'a'"),
        ('{"id": "x", "document": "d", "metadata": {"a": 18446744073709551616}}', "'a'"),
        ('{"id": "x", "document": "d", "metadata": {"a": "\\ud800"}}', "'a'"),
        ('{"id": "x", "document": "d", "metadata": {"\\ud800": 1}}', "metadata"),
        ('{"id": "x", "document": "d", "input_sha256": 1}', "input_sha256"),
        ('{"id": "first", "document": "d"}', "'first'"),
        ("\udcff", "JSON"),
        ("[" * 100_000, "JSON"),
    ],
    ids=lambda value: value[:50] if isinstance(value, str) else None,
)
def test_a_broken_record_names_file_and_line(tmp_path: Path, broken: str, why: str) -> None:
    """The batch is refused in one line that says where to look, and nothing is taken for something else."""
    with pytest.raises(BatchError) as raised:
        records(tmp_path, line({"id": "first", "document": "d"}) + broken + "\n")
    message = str(raised.value)
    assert f"{NAME} line 2" in message
    assert why in message.split("line 2", 1)[1]
    assert len(message.splitlines()) == 1


def test_openais_input_file(tmp_path: Path) -> None:
    """`custom_id` is the id, `body.input` the document; model and dimensions are what was asked."""
    found = input_file(tmp_path, input_lines(["a", "東京"], dimensions=8))
    assert list(found.by_id.values()) == [
        Request("a", "text of a", None, None, "text of a"),
        Request("東京", "text of 東京", None, None, "text of 東京"),
    ]
    assert (found.model, found.dimensions) == (MODEL, 8)


def test_an_input_of_one_text_in_a_list(tmp_path: Path) -> None:
    """OpenAI takes it so, too. Without dimensions none are known."""
    found = input_file(tmp_path, input_lines(["a"], input=["only"]))
    assert found.by_id["a"].document == "only"
    assert found.dimensions is None


def body(input_text: str) -> str:
    return f'{{"custom_id": "x", "body": {{"model": "m", "input": {input_text}}}}}'


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("{", "JSON"),
        ('{"custom_id": "x"}', "body"),
        ('{"custom_id": "x", "body": []}', "body"),
        ('{"body": {"input": "t"}}', "id"),
        (body("7"), "input"),
        (body('["a", "b"]'), "input"),
        (body("[1, 2]"), "input"),
        (body('"\\ud800"'), "input"),
        ('{"custom_id": "x", "body": {"model": 7, "input": "t"}}', "model"),
    ],
)
def test_a_broken_input_names_file_and_line(tmp_path: Path, broken: str, why: str) -> None:
    """As for the records."""
    with pytest.raises(BatchError) as raised:
        input_file(tmp_path, line({"custom_id": "a", "body": {"input": "t"}}) + broken + "\n")
    assert f"{NAME} line 2" in str(raised.value)
    assert why in str(raised.value).split("line 2", 1)[1]


@pytest.mark.parametrize("read", [read_records, read_input_file])
def test_an_empty_file_asks_for_nothing(tmp_path: Path, read: Callable[[Path, str], Requests]) -> None:
    """No request, no error."""
    path = tmp_path / "empty.jsonl"
    path.write_bytes(b"\n")
    assert read(path, NAME) == Requests({})


def test_ascii_escapes_are_the_same_text(tmp_path: Path) -> None:
    """Written with escapes or without: one record."""
    value = {"id": "\U0001f600", "document": "ä", "metadata": {"k": "東"}}
    one = records(tmp_path, json.dumps(value, ensure_ascii=True))
    two = records(tmp_path, json.dumps(value, ensure_ascii=False))
    assert one == two


NUMBERS = st.integers(-(2**70), 2**70) | st.floats() | st.decimals(places=25, allow_nan=False).map(float)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(st.characters(codec=None), max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(value=VALUES, ascii_only=st.booleans())
def test_a_line_is_what_the_standard_library_reads(value: Any, ascii_only: bool) -> None:
    """Numbers of any size, NaN, lone surrogates: the fast parser changes no value and no type."""
    text = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")

    def read(parse: Callable[[bytes], Any]) -> str:
        try:
            return repr(parse(text))
        except ValueError as error:
            return str(error)

    assert read(requests._parsed) == read(lambda line: json.loads(line.decode()))


@pytest.mark.parametrize("number", [2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**18, 10**19])
def test_integers_stay_integers(number: int) -> None:
    """Also those that 64 bits do not hold: they are refused later, and not published as floats."""
    found = requests._parsed(b'{"n": %d}' % number)["n"]
    assert (found, type(found)) == (number, int)
