"""Batch objects as servers return them: odd ones are read as far as they go, and nothing raises."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedding_assets.openai_batches.batch_errors import WITHOUT_REASON
from embedding_assets.openai_batches.batch_status import BY_OPENAI, ENDED
from embedding_assets.openai_batches.remote import read_batch

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = (
    "id",
    "status",
    "created_at",
    "completed_at",
    "output_file_id",
    "error_file_id",
    "input_file_id",
    "errors",
    "metadata",
    "request_counts",
)
GOOD = {"id": "b", "status": "completed", "created_at": 1_700_000_000}


@settings(max_examples=40)
@given(value=JSON | st.fixed_dictionaries(dict.fromkeys(FIELDS, JSON)))
def test_no_json_raises(value: Any) -> None:
    """Whatever an entry is: it is read, or says why it cannot be used."""
    batch = read_batch(value)
    usable = bool(batch.id and batch.status and batch.created_at is not None)
    assert usable is (batch.odd is None)


@pytest.mark.parametrize("entry", [None, "text", 5, [], {}, {"id": 7}, {"id": ""}])
def test_an_entry_without_an_id_is_odd(entry: object) -> None:
    """There is nothing that it could be."""
    batch = read_batch(entry)
    assert (batch.id, batch.odd is None) == ("", False)


@pytest.mark.parametrize(
    "created_at", ["2026-11-25T10:00:00Z", "1700000000", 1_700_000_000_000, None, True, 0, -5, float("nan"), [1]]
)
def test_an_instant_that_is_none_is_odd(created_at: object) -> None:
    """Text, milliseconds, nothing: the entry says so; a retrieved batch needs no such instant."""
    batch = read_batch({**GOOD, "created_at": created_at})
    assert (batch.status, batch.created_at) == ("completed", None)
    assert batch.odd is not None
    assert batch.odd.startswith("created_at ")


def test_epoch_seconds_are_instants() -> None:
    """Also with a fraction; the first end that is there counts."""
    batch = read_batch(
        {**GOOD, "created_at": 1_700_000_000.5, "completed_at": "soon", "expired_at": 1_700_000_009}
    )
    assert batch.created_at == datetime.fromtimestamp(1_700_000_000.5, UTC)
    assert batch.finished_at == datetime.fromtimestamp(1_700_000_009, UTC)


@pytest.mark.parametrize(
    ("errors", "told", "code"),
    [
        (None, (), None),
        ({"object": "list", "data": [{"code": "c", "message": "m"}]}, ("c: m",), "c"),
        ({"data": None}, (), None),
        ({}, (), None),
        ([{"code": "c", "message": "m"}, {"code": 400, "message": None}], ("c: m", "http_400"), "c"),
        ({"data": [{"code": 429, "message": "slow"}]}, ("http_429: slow",), "http_429"),
        (
            {"data": [None, {"message": "m"}, "text", {}]},
            ("m", "text", "OpenAI gives no reason"),
            None,
        ),
        ("broken", ("broken",), None),
        (5, ("5",), None),
        ({"data": [{"code": None, "message": None}]}, (WITHOUT_REASON,), None),
    ],
)
def test_errors_of_any_shape(errors: object, told: tuple[str, ...], code: str | None) -> None:
    """The reference's list, a bare list, numbers as codes, nothing: never `None: None`."""
    batch = read_batch({**GOOD, "errors": errors})
    assert (batch.errors, batch.error_code) == (told, code)


@pytest.mark.parametrize("status", BY_OPENAI)
def test_letter_case_does_not_matter(status: str) -> None:
    """All eight of OpenAI's, as `COMPLETED` or `Completed`."""
    for written in (status, status.upper(), status.title(), f" {status} "):
        batch = read_batch({**GOOD, "status": written})
        assert (batch.status, batch.terminal, batch.unknown_status) == (status, status in ENDED, None)


@pytest.mark.parametrize("word", ["paused", "Queued", "not_found", "refused"])
def test_a_status_of_its_own_is_kept_as_it_is(word: str) -> None:
    """None of the eight: live, with OpenAI's own word, also if it is one of our two words."""
    batch = read_batch({**GOOD, "status": word})
    assert (batch.terminal, batch.unknown_status) == (
        False,
        word if word not in ENDED else f"{word} (by OpenAI)",
    )


def test_a_status_is_bounded_and_printable() -> None:
    """It is stored and shown: no control character, no novel."""
    batch = read_batch({**GOOD, "status": "\x1b[31m" + "long" * 100})
    assert batch.unknown_status is not None
    assert batch.unknown_status.startswith("?[31mlong")
    assert len(batch.unknown_status) == 64


@pytest.mark.parametrize(
    ("counts", "output", "lacks"),
    [
        ({"completed": 3}, None, True),
        ({"completed": 3}, "", True),
        ({"completed": 3}, "file", False),
        ({"completed": 0}, None, False),
        ({"completed": "3"}, None, False),
        (None, None, False),
        ([], None, False),
    ],
)
def test_when_a_completed_batch_lacks_its_output(counts: object, output: object, lacks: bool) -> None:
    """It names no output file, although its counts say that something was answered."""
    batch = read_batch({**GOOD, "request_counts": counts, "output_file_id": output})
    assert batch.lacks_output is lacks
