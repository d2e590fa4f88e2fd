"""Code and message of an error, as OpenAI or a server that is compatible with it writes one.

OpenAI: `{"error": {"message", "type", "param", "code"}}`. vLLM: the error is the body itself,
`{"object": "error", "message", "type", "param", "code": 400}`. LiteLLM: `code` is a number as text. FastAPI:
`{"detail": text}` or `{"detail": [{"loc", "msg", "type"}]}`. Gateways: `{"error": text}`, or text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from embedding_assets.text.bounded_text import MESSAGE_CHARS, NAME_CHARS, bounded

MESSAGE_FIELDS = ("message", "detail", "msg", "error", "error_message", "description", "title")
"""Where an error may have its message; the first that is there counts."""
BODY_FIELDS = ("message", "detail", "msg", "error_message")
"""Fields that make a body without `data` an error."""
PARTS = 10
"""Messages of a list that are read."""
NOTHING = ("", "None", "null")
"""What programs write in the place of no text."""


@dataclass(frozen=True)
class ErrorDetails:
    """`code` and `message` within bounds, empty if the error has none; `status` is an HTTP status from 400 on."""

    code: str
    message: str
    status: int | None


def body_error(body: object) -> object:
    """The error that a body holds or is; None if it is no error."""
    if isinstance(body, str):
        return body.strip() or None
    if not isinstance(body, Mapping):
        return None
    if body.get("error"):
        return body["error"]
    is_error = body.get("object") == "error" or (
        not body.get("data") and any(body.get(name) for name in BODY_FIELDS)
    )
    return body if is_error else None


def error_details(error: object, limit: int = MESSAGE_CHARS) -> ErrorDetails:
    """What an error says, whatever its shape; `limit` bounds the message, in characters.

    A code that is a number, a HTTP status, is the code only if there is no type that says more.
    """
    if not isinstance(error, Mapping):
        return ErrorDetails("", bounded(plain_text(error), limit), None)
    inner = error.get("error")
    if isinstance(inner, Mapping) and not any(error.get(name) for name in BODY_FIELDS):
        return error_details(inner, limit)
    texts = (error.get(name) for name in MESSAGE_FIELDS)
    message = next((text for text in map(plain_text, texts) if text), "")
    status = _status(error.get("code"))
    code = plain_text(error.get("code"))
    if not code or code.isdigit():
        code = plain_text(error.get("type")) or (f"http_{status}" if status is not None else code)
    return ErrorDetails(bounded(" ".join(code.split()), NAME_CHARS), bounded(message, limit), status)


def plain_text(value: object) -> str:
    """Any JSON value as text: text as it is, nothing as nothing, a list of messages joined."""
    if value is None:
        return ""
    if isinstance(value, str):
        return "" if value.strip() in NOTHING else value.strip()
    if isinstance(value, list):
        return "; ".join(part for part in map(_part, value[:PARTS]) if part)
    try:
        return json.dumps(value, ensure_ascii=False) if value != {} else ""
    except (TypeError, ValueError, RecursionError):
        return type(value).__name__


def _part(value: object) -> str:
    if isinstance(value, Mapping):
        value = value.get("msg") or value.get("message") or value
    return plain_text(value)


def _status(code: object) -> int | None:
    if isinstance(code, str) and code.isdecimal() and len(code) == 3:
        code = int(code)
    return code if isinstance(code, int) and not isinstance(code, bool) and 400 <= code <= 599 else None
