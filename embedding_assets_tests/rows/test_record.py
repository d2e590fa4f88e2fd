"""Records: hashes that another program can compute from the contract alone, and metadata that may be published."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_assets.errors import InputError
from embedding_assets.rows.record import (
    checked_metadata,
    content_digest,
    input_sha256,
    metadata_json,
    parse_metadata,
    record_hash,
)
from embedding_assets_tests.reference import Expected, reference_digest, reference_hash

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
    lambda key: key[0] not in "$#" and key != "chroma:document"
)
SCALARS = (
    TEXT | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
METADATA = st.none() | st.dictionaries(KEYS, SCALARS, min_size=1, max_size=5)
VECTORS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=8)


def hash_of(record: Expected) -> bytes:
    vector = np.array(record.vector, dtype="<f4").tobytes()
    return record_hash(record.id, vector, record.document, metadata_json(checked_metadata(record.metadata)))


def test_the_hash_of_a_known_record_is_a_known_number() -> None:
    """These two values may never change: every published content digest rests on them."""
    full = Expected("receipt#1", (1.0, -0.5), "Grüße 東京", {"z": 1, "a": "ä", "b": True, "f": 0.5})
    bare = Expected("receipt#2", (0.25, 2.0), None, None)
    assert hash_of(full).hex() == "2d6f82f75bb243a1805d7df6d657976c63071fb9d5fdcf9dd800c0fe1fbefac5"
    assert hash_of(bare).hex() == "ae4b011f1e195e8ef8e56d577248ce3e32943b45830fd31f7f0053f57a0f0b47"
    assert reference_digest([full, bare]) == "3133ebea8a426f19f1e7bebe6b04a18800bbc11dc3032678abaa7f0551c4876b"
    assert (
        content_digest([hash_of(full), hash_of(bare)])
        == "3133ebea8a426f19f1e7bebe6b04a18800bbc11dc3032678abaa7f0551c4876b"
    )


@given(record_id=TEXT.filter(bool), vector=VECTORS, document=st.none() | TEXT, metadata=METADATA)
def test_the_hash_is_the_contracts(
    record_id: str, vector: list[float], document: str | None, metadata: dict[str, Any] | None
) -> None:
    """Whatever a record holds, its hash is the one that the contract's words give."""
    record = Expected(record_id, tuple(vector), document, metadata)
    assert hash_of(record) == reference_hash(record)


def test_absent_and_empty_are_two_things() -> None:
    """An absent document is not an empty one, and parts never run into each other."""
    vector = b"\0\0\0\0"
    hashes = {
        record_hash("a", vector, None, None),
        record_hash("a", vector, "", None),
        record_hash("a", vector, None, "{}"),
        record_hash("a", vector, "b", None),
        record_hash("ab", vector, "", None),
    }
    assert len(hashes) == 5


def test_metadata_is_canonical_json() -> None:
    """Sorted keys, no spaces, no ASCII escaping, whatever the order in which they came."""
    assert metadata_json({"b": [1, 2], "a": "ä\u2028", "A": 1.0}) == '{"A":1.0,"a":"ä\u2028","b":[1,2]}'
    assert metadata_json({"a": 1, "b": 2}) == metadata_json({"b": 2, "a": 1})
    assert metadata_json(None) is None


@given(METADATA)
def test_canonical_json_comes_back_as_it_was(metadata: dict[str, Any] | None) -> None:
    """Nothing of the metadata is lost in the form in which it is stored."""
    back = parse_metadata(metadata_json(metadata))
    assert back == metadata
    assert [type(value) for value in (back or {}).values()] == [type((metadata or {})[key]) for key in back or {}]


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        ([], "object"),
        ("text", "object"),
        ({"": 1}, "empty"),
        ({"$where": 1}, "'$where'"),
        ({"#a": 1}, "'#a'"),
        ({"chroma:document": "x"}, "'chroma:document'"),
        ({1: "x"}, "text"),
        ({"a": float("nan")}, "'a'"),
        ({"a": float("inf")}, "'a'"),
        ({"a": float("-inf")}, "'a'"),
        ({"chroma:other": 1}, "chroma:other"),
        ({"a": 2**63}, "'a'"),
        ({"a": -(2**63) - 1}, "'a'"),
        ({"a": {"b": 1}}, "'a'"),
        ({"a": []}, "'a'"),
        ({"a": [1, "x"]}, "'a'"),
        ({"a": [1, True]}, "'a'"),
        ({"a": [1, 2.0]}, "'a'"),
        ({"a": [None]}, "'a'"),
        ({"a": [float("nan")]}, "'a'"),
        ({"a": [[1]]}, "'a'"),
        ({"a": "\ud800"}, "'a'"),
        ({"a": ["\ud800"]}, "'a'"),
        ({"\ud800": 1}, "Unicode"),
    ],
)
def test_metadata_that_chroma_would_change_is_refused(metadata: object, named: str) -> None:
    """What would come back as something else, or cannot be stored, is refused and the key is named."""
    with pytest.raises(InputError) as raised:
        checked_metadata(metadata)
    assert named in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    "metadata",
    [
        {"a": "", "b": "x"},
        {"a": 2**63 - 1, "b": -(2**63)},
        {"a": True, "b": False},
        {"a": 0.1, "b": -0.0, "c": 5e-324, "d": 1.7976931348623157e308},
        {"a": ["x", "y"], "b": [1], "c": [0.5], "d": [True, False]},
        {"other:chroma": 1, "a$": 1, "a#": 1, "ключ": "v"},
    ],
)
def test_metadata_is_published_exactly_as_it_was_given(metadata: dict[str, Any]) -> None:
    """Nothing is added, removed or rounded."""
    assert checked_metadata(metadata) == metadata


@pytest.mark.parametrize("nothing", [None, {}, {"a": None}])
def test_metadata_without_a_value_is_none(nothing: object) -> None:
    """Chroma stores neither an empty mapping nor a null: both count as absent."""
    assert checked_metadata(nothing) is None


def test_a_null_goes_and_its_neighbours_stay() -> None:
    """One key without a value takes nothing else with it."""
    assert checked_metadata({"a": None, "b": 0, "c": False, "d": ""}) == {"b": 0, "c": False, "d": ""}


def test_the_content_digest_takes_hashes_in_utf8_order() -> None:
    """U+FF5E comes before U+1F600 in UTF-8, after it in UTF-16: the digest goes by UTF-8."""
    astral, fullwidth = (Expected(name, (1.0,), None, None) for name in ("\U0001f600", "\uff5e"))
    expected = hashlib.sha256(reference_hash(fullwidth) + reference_hash(astral)).hexdigest()
    assert reference_digest([astral, fullwidth]) == expected
    assert content_digest([hash_of(fullwidth), hash_of(astral)]) == expected


def test_the_digest_of_nothing_is_that_of_no_bytes() -> None:
    """An empty version has a digest too."""
    assert content_digest([]) == hashlib.sha256(b"").hexdigest()


def test_input_sha256_tells_every_difference_in_what_was_asked() -> None:
    """Equal means that embedding again would change nothing."""
    asked: list[tuple[str, str | None, str | None, str, int | None]] = [
        ("t", "d", "{}", "m", 8),
        ("T", "d", "{}", "m", 8),
        ("t", None, "{}", "m", 8),
        ("t", "d", None, "m", 8),
        ("t", "d", "{}", "n", 8),
        ("t", "d", "{}", "m", None),
    ]
    assert len({input_sha256(*one) for one in asked}) == len(asked)
    assert input_sha256(*asked[0]) == input_sha256(*asked[0])
