"""What was asked for: read from `records/` or OpenAI's input file; an odd line is its own matter."""

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
from embedding_assets.openai_batches.output import judge
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


def failures(found: Requests) -> list[tuple[int, str, str]]:
    """What fails whatever the answer, by line: number, id and code."""
    requests = [(one.line, one.id, one.problem.code) for one in found.by_id.values() if one.problem is not None]
    return sorted([*requests, *((one.line, one.id, one.problem.code) for one in found.odd)])


def messages(found: Requests) -> list[str]:
    problems = [one.problem.message for one in found.by_id.values() if one.problem is not None]
    return [*problems, *(one.problem.message for one in found.odd)]


@pytest.mark.parametrize(
    ("broken", "record_id", "code", "why"),
    [
        ("{", "", "malformed_request", "JSON"),
        ("[]", "", "malformed_request", "object"),
        ("\udcff", "", "malformed_request", "JSON"),
        ("[" * 100_000, "", "malformed_request", "JSON"),
        ('{"id": "cut", "docum', "cut", "malformed_request", "JSON"),
        ('{"metadata": {"id": "first"}, "docum', "", "malformed_request", "JSON"),
        ('{"document": "d"}', "", "no_id", "id"),
        ('{"id": "", "document": "d"}', "", "no_id", "id"),
        ('{"id": true, "document": "d"}', "", "no_id", "id"),
        ('{"id": null, "document": "d"}', "", "no_id", "id"),
        ('{"id": ["x"], "document": "d"}', "", "no_id", "id"),
        ('{"id": NaN, "document": "d"}', "", "no_id", "id"),
        ('{"id": "\\ud800", "document": "d"}', "", "no_id", "id"),
        ('{"id": "x", "document": "d", "metadata": []}', "x", "metadata_refused", "object"),
        ('{"id": "x", "document": "d", "metadata": {"": 1}}', "x", "metadata_refused", "key"),
        ('{"id": "x", "document": "d", "metadata": {"a": []}}', "x", "metadata_refused", "'a'"),
        ('{"id": "x", "document": "d", "metadata": {"a": NaN}}', "x", "metadata_refused", "'a'"),
        ('{"id": "x", "document": "d", "metadata": {"a": {"b": 1}}}', "x", "metadata_refused", "'a'"),
        ('{"id": "x", "metadata": {"a": 9223372036854775808}}', "x", "metadata_refused", "'a'"),
        ('{"id": "x", "metadata": {"a": 18446744073709551616}}', "x", "metadata_refused", "'a'"),
        ('{"id": "x", "metadata": {"a": "\\ud800"}}', "x", "metadata_refused", "'a'"),
        ('{"id": "x", "metadata": {"\\ud800": 1}}', "x", "metadata_refused", "Unicode"),
        ('{"id": "x", "metadata": {"' + "k" * 10_000 + '": {}}}', "x", "metadata_refused", "more characters"),
    ],
    ids=lambda value: value[:50] if isinstance(value, str) else None,
)
def test_a_broken_record_is_its_own_matter(
    tmp_path: Path, broken: str, record_id: str, code: str, why: str
) -> None:
    """It fails with a code and a short reason; the records beside it are as they would be without it."""
    first, last = ({"id": name, "document": "d"} for name in ("first", "last"))
    found = records(tmp_path, line(first) + broken + "\n" + line(last))
    assert failures(found) == [(2, record_id, code)]
    assert [why in message and len(message) <= 300 for message in messages(found)] == [True]
    for name in ("first", "last"):
        assert found.by_id[name] == Request(name, "d", None)
    assert found.count == found.lines == 3


@pytest.mark.parametrize("document", ["1", "true", '["d"]', '"\\ud800"', "null"])
def test_a_document_that_is_no_text_is_unknown(tmp_path: Path, document: str) -> None:
    """The record is published without it."""
    text = f'{{"id": "x", "document": {document}, "text": 7, "input_sha256": [1]}}'
    assert records(tmp_path, text).by_id == {"x": Request("x", None, None)}


@pytest.mark.parametrize(
    ("number", "text"),
    [("7", "7"), ("-1", "-1"), ("1.5", "1.5"), ("36893488147419103232", "36893488147419103232")],
)
def test_a_number_as_id_is_its_text(tmp_path: Path, number: str, text: str) -> None:
    """In records, in input files, and in answers, so that they fit."""
    assert list(records(tmp_path, f'{{"id": {number}, "document": "d"}}').by_id) == [text]
    assert list(input_file(tmp_path, f'{{"custom_id": {number}, "body": {{"input": "t"}}}}').by_id) == [text]
    assert judge(f'{{"custom_id": {number}, "response": null}}'.encode()).id == text


def test_an_id_twice_for_the_same_is_one_request_and_a_repeated_line(tmp_path: Path) -> None:
    """Every line is a request, so that their number is the row's `request_count`; the second one fails."""
    same = {"id": "a", "document": "d", "metadata": {"k": 1, "l": 2}}
    again = {"metadata": {"l": 2, "k": 1}, "id": "a", "document": "d"}
    found = records(tmp_path, line(same) + line({"id": "b"}) + line(again))
    assert failures(found) == [(3, "a", "duplicate_id")]
    assert found.by_id["a"] == Request("a", "d", '{"k":1,"l":2}')
    assert (found.count, found.lines) == (3, 3)


@pytest.mark.parametrize("second", ["{}", '{"text": "u"}', '{"document": "d", "metadata": {"a": []}}'])
def test_an_id_twice_for_different_things_is_nobodys(tmp_path: Path, second: str) -> None:
    """Nobody can say which of them a vector belongs to: each line fails, in whatever order they come."""
    lines = [line({"id": "a", "document": "d"}), line({"id": "a", **json.loads(second)})]
    for one, two in (lines, lines[::-1]):
        found = records(tmp_path, one + line({"id": "b"}) + two + one)
        assert failures(found) == [(number, "a", "ambiguous_id") for number in (1, 3, 4)]
        assert found.by_id["b"] == Request("b", None, None)


def test_a_byte_order_mark_is_no_part_of_a_line(tmp_path: Path) -> None:
    """Neither at the beginning of a file nor in the middle of one that was put together of two."""
    marked = "\ufeff" + line({"id": "r-0", "document": "d"}) + "\ufeff" + line({"id": "r-1"}) + "\ufeff\n"
    found = records(tmp_path, marked)
    assert (list(found.by_id), found.lines, found.odd) == (["r-0", "r-1"], 2, ())
    sent = input_file(tmp_path, "\ufeff" + input_lines(["a"]))
    assert (list(sent.by_id), sent.odd) == (["a"], ())


def test_a_file_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More lines than any batch has are no batch: the error names the file."""
    monkeypatch.setattr(requests, "MOST_LINES", 3)
    assert records(tmp_path, '{"id": "a"}\n' * 3).lines == 3
    with pytest.raises(BatchError, match=r"records/b1\.jsonl has more than 3 lines"):
        records(tmp_path, '{"id": "a"}\n' * 4)


def test_openais_input_file(tmp_path: Path) -> None:
    """`custom_id` is the id, `body.input` the document; model and dimensions are what was asked."""
    found = input_file(tmp_path, input_lines(["a", "東京"], dimensions=8))
    assert list(found.by_id.values()) == [
        Request("a", "text of a", None, None, "text of a", MODEL),
        Request("東京", "text of 東京", None, None, "text of 東京", MODEL),
    ]
    assert (found.model, found.dimensions) == (MODEL, 8)


def test_an_input_of_one_text_in_a_list(tmp_path: Path) -> None:
    """OpenAI takes it so, too. Without dimensions none are known."""
    found = input_file(tmp_path, input_lines(["a"], input=["only"]))
    assert found.by_id["a"].document == "only"
    assert found.dimensions is None


def body(input_text: str) -> str:
    return f'{{"custom_id": "x", "body": {{"model": "{MODEL}", "input": {input_text}}}}}'


@pytest.mark.parametrize(
    ("sent", "inputs"),
    [
        (body("7"), 1),
        (body("[101, 2023, 102]"), 1),
        (body("[[101, 2023]]"), 1),
        (body("[]"), 1),
        (body("null"), 1),
        (body('"\\ud800"'), 1),
        (body('["a", "b"]'), 2),
        (body("[[101], [102], [103]]"), 3),
        (body('[101, "b"]'), 2),
        ('{"custom_id": "x"}', 1),
        ('{"custom_id": "x", "body": []}', 1),
        ('{"custom_id": "x", "body": {"model": 7}}', 1),
    ],
)
def test_a_request_without_a_text(tmp_path: Path, sent: str, inputs: int) -> None:
    """Token ids, a number, several inputs, no body: its document is unknown, and the others are as they are."""
    found = input_file(tmp_path, input_lines(["a"]) + sent + "\n")
    request = found.by_id["x"]
    assert (request.document, request.text, request.inputs, request.problem) == (None, None, inputs, None)
    assert found.by_id["a"].text == "text of a"
    assert (found.lines, found.odd) == (2, ())


def test_two_requests_of_tokens_are_told_apart(tmp_path: Path) -> None:
    """Neither has a text; only the same line is the same request."""
    one, two = (f'{{"custom_id": "x", "body": {{"input": {tokens}}}}}\n' for tokens in ("[1]", "[2]"))
    assert failures(input_file(tmp_path, one + one)) == [(2, "x", "duplicate_id")]
    assert failures(input_file(tmp_path, one + two)) == [(1, "x", "ambiguous_id"), (2, "x", "ambiguous_id")]


def test_a_request_for_another_model_fails(tmp_path: Path) -> None:
    """Its vector would be of another space; a request that names no model is of the batch's."""
    found = input_file(
        tmp_path, input_lines(["odd"], model="other") + input_lines(["a", "b"]) + '{"custom_id": "c", "body": {}}'
    )
    assert (found.model, failures(found)) == (MODEL, [(1, "odd", "other_model")])


def test_the_dimensions_are_those_of_most_requests(tmp_path: Path) -> None:
    """The first line does not decide for all. True is no number; most may leave them to the model."""
    text = input_lines(["a"], dimensions=4) + input_lines(["b", "c", "d"], dimensions=8)
    assert input_file(tmp_path, text).dimensions == 8
    odd = input_lines(["e", "f"], dimensions=True) + input_lines(["g"], dimensions=10**30) + input_lines(["h"])
    assert input_file(tmp_path, text + odd).dimensions is None
    assert input_file(tmp_path, input_lines(["a"], dimensions=4) + input_lines(["b", "c"])).dimensions is None


@pytest.mark.parametrize("read", [read_records, read_input_file])
def test_an_empty_file_asks_for_nothing(tmp_path: Path, read: Callable[[Path, str], Requests]) -> None:
    """No request, no error."""
    path = tmp_path / "empty.jsonl"
    path.write_bytes(b"\n")
    found = read(path, NAME)
    assert (found.by_id, found.odd, found.lines, found.model, found.dimensions) == ({}, (), 0, None, None)


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
