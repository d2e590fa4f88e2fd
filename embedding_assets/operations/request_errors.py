"""A batch's `errors.jsonl`, grouped by code: how many requests have no embedding, and whether a retry can help."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from embedding_assets.openai_batches.retry import can_help

EXAMPLES = 3
"""Ids shown of each group."""


@dataclass(frozen=True)
class ErrorGroup:
    """Requests of one batch, or of several, that have no embedding for one reason.

    `retryable`: whether sending them again can help.
    """

    reason: str
    code: str
    retryable: bool
    count: int
    message: str
    examples: tuple[str, ...]

    @property
    def summary(self) -> str:
        """One line for a person."""
        advice = "a retry can help" if self.retryable else "a retry cannot help"
        more = ", …" if self.count > len(self.examples) else ""
        ids = ", ".join(self.examples) + more
        return f"{self.count} {self.reason}: {self.code}, {advice}: {self.message} ({ids})"

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def group_errors(lines: Iterable[bytes]) -> list[ErrorGroup]:
    """The lines of `errors.jsonl`, grouped by reason, code and whether a retry can help; the most frequent first.

    A line that cannot be read counts as a group of its own.
    """
    found: dict[tuple[str, str, bool], list[tuple[str, str]]] = {}
    for line in lines:
        if line.strip():
            error = _parsed(line)
            key = (str(error.get("reason")), str(error.get("code")), _can_help(error))
            found.setdefault(key, []).append((str(error.get("id")), str(error.get("message") or "")))
    groups = [
        ErrorGroup(*key, len(errors), " ".join(errors[0][1].split()), tuple(name for name, _ in errors[:EXAMPLES]))
        for key, errors in found.items()
    ]
    return sorted(groups, key=lambda group: -group.count)


def _can_help(error: dict[str, Any]) -> bool:
    """Whether a retry can help: as the line says; where it does not, by its code and status."""
    stated = error.get("retryable")
    if isinstance(stated, bool):
        return stated
    status = error.get("status_code")
    return can_help(str(error.get("reason")), str(error.get("code")), status if isinstance(status, int) else None)


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        error = orjson.loads(line)
    except orjson.JSONDecodeError:
        error = None
    return error if isinstance(error, dict) else {"reason": "unknown", "code": "unreadable_line", "id": "?"}
