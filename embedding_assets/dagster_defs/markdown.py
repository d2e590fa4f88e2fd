"""Texts from outside in the Markdown tables of Dagster's metadata."""

from __future__ import annotations

from collections.abc import Iterable

SHOWN_CHARS = 60


def code(text: str) -> str:
    """A text as code in a cell of a table: nothing in it ends the code, the cell or the line."""
    short = text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"
    plain = " ".join(short.replace("`", "'").replace("|", "\\|").split())
    return f"`{plain}`" if plain else ""


def codes(texts: Iterable[str]) -> str:
    """Several of them."""
    return ", ".join(map(code, texts))
