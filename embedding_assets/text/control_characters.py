"""Characters that command a terminal instead of being shown by it, made visible.

A terminal obeys the control characters of the sets C0 and C1: `ESC ] 52` writes the clipboard, others hide or
forge lines. Bidirectional overrides and line separators reorder or break what a person reads, and a lone surrogate
cannot be written at all. Documents, ids and messages come from outside, so they may contain any of these.
"""

from __future__ import annotations

import re

_UNSEEN = r"\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
"""DEL and C1, line and paragraph separators, bidirectional embeddings, overrides and isolates, surrogates."""

_ALL = re.compile(f"[\x00-\x1f{_UNSEEN}]")
_WITHIN_LINES = re.compile(f"[\x00-\x08\x0b-\x1f{_UNSEEN}]")
_NOT_ESCAPED_IN_JSON = re.compile(f"[{_UNSEEN}]")


def visible(text: str) -> str:
    """`text` with each such character as its escape, `\\x1b` say; also line breaks and tabs."""
    return _ALL.sub(_escape, text)


def visible_lines(text: str) -> str:
    """The same, but line feeds and tabs stay: for text of several lines that is ours."""
    return _WITHIN_LINES.sub(_escape, text)


def visible_json(text: str) -> str:
    """A JSON document with those characters escaped that JSON allows within strings as they are."""
    return _NOT_ESCAPED_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
