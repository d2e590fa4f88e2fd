"""OpenAI's answers, judged line by line: no line is skipped, none raises, none is believed that is not good."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_assets.openai_batches.output import SAMPLE, Bad, Good, judge, read_answers, usual_dimensions
from embedding_assets_tests.answers import answer, encoded, failed_line, line, output_line, unfinished_line
from embedding_assets_tests.deltas import MODEL, vector

VECTOR = vector(1)


def judged(text: str) -> Good | Bad:
    return judge(text.encode("utf-8", "surrogatepass"))


def with_body(body: Any, status_code: Any = 200) -> str:
    return answer("r1", {"status_code": status_code, "body": body})


def with_vector(text: str) -> str:
    """A good line whose vector is this piece of JSON."""
    return output_line("r1", "VECTOR").replace('"VECTOR"', text)


@pytest.mark.parametrize("delivered", [list(VECTOR), encoded(VECTOR)], ids=["float", "base64"])
def test_a_good_answer(delivered: Any) -> None:
    """Id, model and the vector bit for bit, in either encoding."""
    good = judged(output_line("r1", delivered))
    assert isinstance(good, Good)
    assert (good.id, good.model) == ("r1", MODEL)
    assert good.vector.dtype == np.float32
    assert good.vector.tobytes() == struct.pack("<8f", *VECTOR)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=20).filter(any))
def test_both_encodings_give_the_same_bits(numbers: list[float]) -> None:
    """Whatever float32 OpenAI sends: as a decimal number or in base64, the same 32 bits."""
    one, two = judged(output_line("r", numbers)), judged(output_line("r", encoded(numbers)))
    assert isinstance(one, Good)
    assert isinstance(two, Good)
    assert one.vector.tobytes() == two.vector.tobytes() == struct.pack(f"<{len(numbers)}f", *numbers)


@pytest.mark.parametrize(
    "record_id", ["a", " ", "a/b#c", "東京", "\U0001f600", "a\u2028b", 'quo"te', "a\\b", "\0"]
)
def test_ids_are_any_text(record_id: str) -> None:
    """Nothing of an id is changed, escaped or not."""
    for text in (output_line(record_id, VECTOR), json.dumps(json.loads(output_line(record_id, VECTOR)))):
        assert judged(text).id == record_id


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("not json", "malformed_line"),
        ("[1, 2]", "malformed_line"),
        ('"text"', "malformed_line"),
        ("null", "malformed_line"),
        (line({"response": None, "error": None}), "malformed_line"),
        (line({"custom_id": ""}), "malformed_line"),
        (line({"custom_id": True}), "malformed_line"),
        ('{"custom_id": NaN}', "malformed_line"),
        ('{"custom_id": 1' + "0" * 5000 + "}", "malformed_line"),
        (line({"custom_id": None}), "malformed_line"),
        (line({"custom_id": ["r1"]}), "malformed_line"),
        ('{"custom_id": "\\ud800"}', "malformed_line"),
        ("[" * 100_000, "malformed_line"),
        ('{"custom_id": ' * 50_000, "malformed_line"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else None,
)
def test_a_line_that_does_not_tell_its_id(text: str, code: str) -> None:
    """It is nobody's answer: counted, never guessed."""
    assert judged(text) == Bad(None, "failed", code, judged(text).message)  # type: ignore[union-attr]


@pytest.mark.parametrize("record_id", ["r1", "東京", 'quo"te', "\U0001f600"])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_the_id_of_a_cut_line_is_saved(record_id: str, ascii_only: bool) -> None:
    """A line cut in its middle fails the request that it was about."""
    whole = json.dumps(json.loads(output_line(record_id, VECTOR)), ensure_ascii=ascii_only)
    cut = whole.encode()[: len(whole.encode()) // 2]
    found = judge(cut)
    assert isinstance(found, Bad)
    assert (found.id, found.reason, found.code) == (record_id, "failed", "malformed_line")


@pytest.mark.parametrize(
    ("text", "reason", "code", "status_code"),
    [
        (failed_line("r1"), "failed", "server_error", 500),
        (failed_line("r1", code="invalid_request", status_code=400), "failed", "invalid_request", 400),
        (unfinished_line("r1"), "unfinished", "batch_expired", None),
        (unfinished_line("r1", "batch_cancelled"), "unfinished", "batch_cancelled", None),
        (with_body({"error": {"code": "batch_expired", "message": "m"}}, 408), "unfinished", "batch_expired", 408),
        (with_body({"error": {"code": None, "type": "server_error"}}, 500), "failed", "server_error", 500),
        (with_body({"error": {"message": "m"}}, 500), "failed", "error", 500),
        (with_body({"error": "text"}, 400), "failed", "error", 400),
        (with_body("upstream is gone", 502), "failed", "http_502", 502),
        (with_body({"data": [{"embedding": list(VECTOR)}]}, "500"), "failed", "http_500", 500),
        (with_body({"error": {"message": "m", "code": 429}}), "failed", "http_429", 429),
        (with_body({"error": {"message": "m", "code": "400", "type": "None"}}, 400), "failed", "http_400", 400),
        (
            with_body({"object": "error", "message": "m", "type": "BadRequestError", "code": 400}, 400),
            "failed",
            "BadRequestError",
            400,
        ),
        (with_body({"detail": "Not Found"}, 404), "failed", "http_404", 404),
        (answer("r1", None, "text"), "failed", "error", None),
        (with_body({"data": [{"embedding": list(VECTOR)}]}, 500), "failed", "http_500", 500),
        (with_body({"data": [{"embedding": list(VECTOR)}]}, 302), "failed", "http_302", 302),
        (with_body({}), "failed", "empty_answer", 200),
        (with_body(None), "failed", "empty_answer", 200),
        (with_body([]), "failed", "empty_answer", 200),
        (answer("r1", None), "failed", "empty_answer", None),
        (answer("r1", "text"), "failed", "empty_answer", None),
        (line({"custom_id": "r1"}), "failed", "empty_answer", None),
    ],
)
def test_an_answer_without_a_vector(text: str, reason: str, code: str, status_code: int | None) -> None:
    """Judged by its status code and its body, not by the top-level error."""
    bad = judged(text)
    assert isinstance(bad, Bad)
    assert (bad.id, bad.reason, bad.code, bad.status_code) == ("r1", reason, code, status_code)


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "context is too long", "type": "invalid_request_error", "code": None}},
        {"error": {"error": {"message": "context is too long"}}},
        {"error": "context is too long"},
        {
            "object": "error",
            "message": "context is too long",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
        {"message": "context is too long"},
        {"detail": "context is too long"},
        {"detail": [{"loc": ["body"], "msg": "context is too long", "type": "value_error"}]},
        {"detail": {"message": "context is too long", "x": 1}, "error": None},
        "context is too long",
    ],
)
def test_the_message_of_an_error_is_kept(body: Any) -> None:
    """As OpenAI, vLLM, LiteLLM, FastAPI and gateways write it; a retry cannot help what answered 400."""
    bad = judged(with_body(body, 400))
    assert isinstance(bad, Bad)
    assert "context is too long" in bad.message
    assert (bad.code, bad.status_code) != ("", None)
    assert bad.status_code == 400


def test_what_an_error_says_has_bounds() -> None:
    """400 KB of message, code and model name: a line of errors.jsonl stays short, and says how much is missing."""
    error = {"message": "m" * 400_000, "code": "c" * 400_000}
    for text in (with_body({"error": error}, 400), answer("r1", None, error)):
        bad = judged(text)
        assert isinstance(bad, Bad)
        assert (len(bad.message), len(bad.code)) <= (300, 100)
        assert bad.message.endswith("more characters")
    good = judged(output_line("r1", VECTOR, model="n" * 400_000))
    assert isinstance(good, Good)
    assert len(good.model or "") <= 100


@pytest.mark.parametrize("count", [2, 3])
def test_several_vectors_for_one_request_are_nobodys(count: int) -> None:
    """Whatever their order and their index: the request fails, and none of them is taken."""
    entries = [{"index": count - number - 1, "embedding": list(vector(number))} for number in range(count)]
    bad = judged(with_body({"object": "list", "data": entries}))
    assert isinstance(bad, Bad)
    assert (bad.id, bad.reason, bad.code) == ("r1", "failed", "several_vectors")
    others: tuple[Any, ...] = ({}, None, {"embedding": []})
    for rest in others:
        found = judged(with_body({"data": [entries[0], rest]}))
        assert isinstance(found, Bad)
        assert found.code == "several_vectors"


@pytest.mark.parametrize("index", [0, 7, -1, None, "0"])
def test_the_index_of_the_only_vector_is_not_looked_at(index: Any) -> None:
    """There is nothing that it could be mistaken for."""
    good = judged(with_body({"data": [{"index": index, "embedding": list(VECTOR)}]}))
    assert isinstance(good, Good)
    assert good.vector.tolist() == list(VECTOR)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (with_body({"data": []}), "empty_vector"),
        (with_body({"data": None, "model": "m"}), "empty_vector"),
        (with_body({"data": {"embedding": [1.0]}}), "empty_vector"),
        (with_body({"data": [None]}), "empty_vector"),
        (with_body({"data": [{}]}), "empty_vector"),
        (with_body({"data": [{"embedding": None}]}), "empty_vector"),
        (with_vector("[]"), "empty_vector"),
        (with_vector('""'), "empty_vector"),
        (with_vector("[NaN, 1.0]"), "not_finite"),
        (with_vector("[Infinity, 1.0]"), "not_finite"),
        (with_vector("[1e39, 1.0]"), "not_finite"),
        (with_vector(f'"{encoded([float("nan"), 1.0])}"'), "not_finite"),
        (with_vector(f'"{encoded([float("inf")])}"'), "not_finite"),
        (with_vector("[0.0, 0, -0.0]"), "zero_vector"),
        (with_vector("[1e-60, 0]"), "zero_vector"),
        (with_vector(f'"{encoded([0.0, 0.0])}"'), "zero_vector"),
        (with_vector('"!!!!"'), "malformed_vector"),
        (with_vector('"AAA="'), "malformed_vector"),
        (with_vector('"AAAAAAA"'), "malformed_vector"),
        (with_vector('"AAAAAAAA"'), "malformed_vector"),
        (with_vector('"ä"'), "malformed_vector"),
        (with_vector('{"0": 1.0}'), "malformed_vector"),
        (with_vector("7"), "malformed_vector"),
        (with_vector("true"), "malformed_vector"),
        (with_vector("[true, false]"), "malformed_vector"),
        (with_vector("[1.0, true]"), "malformed_vector"),
        (with_vector('["a", "b"]'), "malformed_vector"),
        (with_vector('["0.5", "0.25"]'), "malformed_vector"),
        (with_vector('[0.5, "0.25"]'), "malformed_vector"),
        (with_vector("[[0.5], [0.25, 1.0]]"), "malformed_vector"),
        (with_vector("[{}, {}]"), "malformed_vector"),
    ],
)
def test_a_vector_that_cannot_be_used(text: str, code: str) -> None:
    """Each fails its request, with the reason; none becomes a vector."""
    bad = judged(text)
    assert isinstance(bad, Bad)
    assert (bad.id, bad.reason, bad.code) == ("r1", "failed", code)


@pytest.mark.parametrize("text", ["[null, 1.0]", "[[0.5, 0.25]]", "[1" + "0" * 400 + "]", "[[]]"])
def test_other_unusable_vectors_do_not_raise(text: str) -> None:
    """Under whatever code, they fail their request alone."""
    bad = judged(with_vector(text))
    assert isinstance(bad, Bad)
    assert (bad.id, bad.reason) == ("r1", "failed")


def test_a_message_is_text_that_can_be_written() -> None:
    """What OpenAI says of an error goes to errors.jsonl: half a surrogate pair in it must not stop the batch."""
    bad = judged('{"custom_id": "r1", "response": null, "error": {"code": "c\\ud800", "message": "m\\ud800"}}')
    assert isinstance(bad, Bad)
    assert (bad.code + bad.message).encode()


@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_bytes_raise(data: bytes) -> None:
    """Whatever stands in the file."""
    assert isinstance(judge(data), Bad)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(body=JSON, data=JSON, embedding=JSON, error=JSON, status=JSON)
def test_no_shape_raises(body: Any, data: Any, embedding: Any, error: Any, status: Any) -> None:
    """Any JSON in any place of an answer."""
    entry = {"embedding": embedding}
    for shape in (body, {"data": data}, {"data": [data]}, {"data": [entry], "model": data}, {"error": error}):
        found = judged(answer("r1", {"status_code": status, "body": shape}, error))
        assert found.id == "r1"


def test_every_line_is_read(tmp_path: Path) -> None:
    """Empty lines are none; a last line without an end is one; U+2028 ends no line; a byte order mark is none."""
    path = tmp_path / "output.jsonl"
    text = "\ufeff" + output_line("r1\u2028", VECTOR) + "\n  \n" + "broken\n" + output_line("r2", VECTOR).rstrip()
    path.write_text(text, encoding="utf-8", newline="")
    assert [found.id for found in read_answers(path)] == ["r1\u2028", None, "r2"]


def test_the_usual_dimensions_are_most_vectors() -> None:
    """A few wrong lengths at the beginning do not decide; without a good vector there is none."""
    answers = [
        judged(text) for text in (output_line("a", [1.0]), *(output_line(f"r{n}", VECTOR) for n in range(3)))
    ]
    assert usual_dimensions(answers)[0] == 8
    assert usual_dimensions([judged(failed_line("a"))])[0] is None


def test_no_answer_is_lost_by_looking_for_the_dimensions() -> None:
    """All come after it as they would have come without, each once, and no more than a sample is read ahead."""
    answers = [judged(output_line(f"r{n}", VECTOR) if n % 3 else failed_line(f"r{n}")) for n in range(400)]
    taken: list[Good | Bad] = []

    def coming() -> Iterator[Good | Bad]:
        for one in answers:
            taken.append(one)
            yield one

    dimensions, again = usual_dimensions(coming())
    assert (dimensions, sum(isinstance(one, Good) for one in taken)) == (8, SAMPLE)
    assert [one.id for one in again] == [f"r{n}" for n in range(400)]


@pytest.mark.parametrize(
    "numbers", ["0, 0.5", "1, 0", "0.0, 1.0", "-0.0, 1e0", "3e38, 3e38", "1e-50, 2", "-7, -1", "0.5, 1"]
)
def test_numbers_that_are_rare_are_numbers(numbers: str) -> None:
    """Whole ones, whose places true and false could take, and ones whose squares no float32 holds."""
    good = judged(with_vector(f"[{numbers}]"))
    assert isinstance(good, Good)
    assert good.vector.tolist() == [float(np.float32(float(number))) for number in numbers.split(", ")]


@pytest.mark.parametrize("text", ["0.5, true", "false, 0.5", "0, false", "1.0, true", "true"])
def test_true_and_false_are_no_numbers(text: str) -> None:
    """Not beside numbers either."""
    assert judged(with_vector(f"[{text}]")) == Bad(
        "r1", "failed", "malformed_vector", "the answer's vector cannot be read"
    )


@given(st.text("AB/+=ä \n-_", max_size=12) | st.text("ABCD=", max_size=9))
def test_base64_is_what_the_standard_library_takes_it_for(text: str) -> None:
    """Also if its last bits are not zero, which the fast decoder refuses."""
    found = judged(output_line("r1", text))
    try:
        wanted = base64.b64decode(text, validate=True)
    except ValueError:
        assert isinstance(found, Bad)
        return
    numbers = np.frombuffer(wanted, dtype="<f4") if len(wanted) % 4 == 0 else np.zeros(0, np.float32)
    if numbers.any() and np.isfinite(numbers).all():
        assert isinstance(found, Good)
        assert found.vector.tobytes() == wanted
    else:
        assert isinstance(found, Bad)
