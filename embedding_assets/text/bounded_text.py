"""Texts from outside, within bounds: a message is cut and says how much of it was left out.

DynamoDB takes 400 KB a row, and one error file has a line for each of 50,000 requests. Texts of services, files
and people have no bound of their own.
"""

from __future__ import annotations

from embedding_assets.text.redaction import redacted

ROW_TEXT_CHARS = 1000
"""Longest `error` or `set_aside` of a row."""
MESSAGE_CHARS = 300
"""Longest message of one request."""
NAME_CHARS = 100
"""Longest code, model name, or id in a message."""

LEFT_OUT_CHARS = len("… and 999,999,999,999 more characters")


def bounded(text: str, limit: int = ROW_TEXT_CHARS) -> str:
    """`text` in at most `limit` characters (`limit` at least 60); one that is cut says how many were left out.

    What cannot be written as UTF-8, a lone surrogate, becomes `?`.
    """
    text = writable(text)
    if len(text) <= limit:
        return text
    kept = text[: limit - LEFT_OUT_CHARS]
    return f"{kept}… and {len(text) - len(kept):,} more characters"


def shown(name: str) -> str:
    """An id or name in a message: quoted, escaped, and within bounds."""
    return repr(bounded(name, NAME_CHARS))


def writable(text: str) -> str:
    """`text` as it may be stored: UTF-8, and without secrets, because a gateway may repeat them."""
    return redacted(text.encode(errors="replace").decode())
