"""Texts from outside: never longer than their bound, and what is left out is counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from embedding_assets.text.bounded_text import ROW_TEXT_CHARS, bounded, shown


def test_a_short_text_is_as_it_was() -> None:
    """Up to the bound itself."""
    assert bounded("x" * ROW_TEXT_CHARS) == "x" * ROW_TEXT_CHARS


def test_a_long_text_says_how_much_is_left_out() -> None:
    """Beginning and number make up the whole."""
    text = bounded("x" * 450_000)
    kept, _, rest = text.partition("… and ")
    assert len(text) <= ROW_TEXT_CHARS
    assert int(rest.removesuffix(" more characters").replace(",", "")) + len(kept) == 450_000
    assert len(kept) > ROW_TEXT_CHARS - 50


@given(st.text(st.characters(codec=None), max_size=400), st.integers(60, 200))
def test_any_text_has_bounds_and_can_be_written(text: str, limit: int) -> None:
    """Lone surrogates too."""
    assert len(bounded(text, limit).encode()) <= 4 * limit
    assert len(bounded(text, limit)) <= limit
    assert shown(text).isprintable()
