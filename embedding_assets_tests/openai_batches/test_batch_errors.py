"""What a whole batch failed with: readable, in order, within bounds, whatever OpenAI or a gateway sends."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Batch

from embedding_assets.openai_batches.batch_errors import BatchErrors, read_batch_errors

LINE = {"code": "invalid_json_line", "message": "This line is not parseable as valid JSON.", "param": None}


def read(errors: Any) -> BatchErrors:
    """As the SDK hands it over."""
    return read_batch_errors(Batch.construct(id="b", errors=errors).errors)


@pytest.mark.parametrize(
    ("errors", "texts", "code"),
    [
        (None, (), None),
        ({"data": None}, (), None),
        ({"data": []}, (), None),
        ({"data": [{"code": "c", "message": "m"}]}, ("c: m",), "c"),
        ({"data": [{"code": "c", "message": "m", "line": 3}]}, ("c: m (line 3)",), "c"),
        ({"data": [{"code": None, "message": "m"}, {"code": "d", "message": None}]}, ("m", "d"), "d"),
        ({"data": [{"code": None, "message": None}]}, ("OpenAI gives no reason",), None),
        ({"data": [{"code": 400, "message": "m"}]}, ("http_400: m",), "http_400"),
        ({"data": [{"code": 7, "message": ["m", {"msg": "n"}]}]}, ("7: m; n",), "7"),
        ([{"code": "c", "message": "m"}], ("c: m",), "c"),
        ({"data": ["m"]}, ("m",), None),
        ({"data": "m"}, ("m",), None),
        ("m", ("m",), None),
        ({"code": "c", "message": "m"}, ("c: m",), "c"),
        (
            {"object": "error", "message": "m", "type": "BadRequestError", "code": 400},
            ("BadRequestError: m",),
            "BadRequestError",
        ),
        ({"data": [LINE] * 3}, (f"{LINE['code']}: {LINE['message']}",) * 3, "invalid_json_line"),
    ],
)
def test_any_shape_is_read(errors: Any, texts: tuple[str, ...], code: str | None) -> None:
    """Never `None: None`, and nothing raises."""
    found = read(errors)
    assert (found.texts, found.code) == (texts, code)


def test_thousands_are_counted() -> None:
    """The first one, and how many more; each line has its own."""
    found = read({"data": [{**LINE, "line": number} for number in range(1, 8001)]})
    assert found.texts == (f"{LINE['code']}: {LINE['message']} (line 1)", "… and 7,999 more")
    assert found.by_line == dict.fromkeys(range(1, 8001), (LINE["code"], LINE["message"]))


def test_one_that_is_too_long_is_cut() -> None:
    """450 KB of message, a code as long, for the batch and for a line."""
    [text] = read({"data": [{"code": "c" * 450_000, "message": "m" * 450_000, "line": 1}]}).texts
    assert len(text) < 1000
    assert "449," in text
    found = read({"data": [{"code": "c", "message": "m" * 450_000, "line": 1}]})
    assert len(found.by_line[1][1]) <= 300


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["data", "code", "message", "line", "type", "error", "detail"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_no_shape_raises(errors: Any) -> None:
    """Any JSON; what is shown can be written."""
    found = read_batch_errors(errors)
    assert len("; ".join(found.texts).encode()) < 10_000
    assert all(isinstance(line, int) for line in found.by_line)
