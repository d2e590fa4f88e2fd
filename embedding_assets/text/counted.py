"""Numbers of things in words."""

from __future__ import annotations


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 batch`, `2 batches`."""
    return f"{count} {one if count == 1 else many or one + 's'}"
