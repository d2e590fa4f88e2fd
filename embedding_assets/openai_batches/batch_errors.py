"""What OpenAI failed a whole batch with: a list of errors of any length and any shape, read within bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from embedding_assets.openai_batches.error_details import error_details

SHOWN_WHOLE = 3
"""So many errors are all shown; of more, only the first."""
LINES_KEPT = 50_000
"""Errors of single lines that are kept: as many as a batch of OpenAI has requests."""
TEXT_CHARS = 600
"""Longest message of an error that is shown."""
WITHOUT_REASON = "OpenAI gives no reason"


@dataclass(frozen=True)
class BatchErrors:
    """The errors of one batch.

    `texts` are a few lines for a person: up to three errors, or the first one and how many more there are.
    `code` is that of the first error that has one. `by_line` has, by the number of the input file's line (from 1),
    the code (empty if there is none) and message of the first error that names it.
    """

    texts: tuple[str, ...] = ()
    code: str | None = None
    by_line: Mapping[int, tuple[str, str]] = field(default_factory=dict)


def read_batch_errors(errors: object) -> BatchErrors:
    """Read the `errors` of a batch: `{"data": [...]}`, a bare list, one error, text, or nothing. Never raises."""
    entries = _entries(errors)
    texts = [_text(entry) for entry in entries[:SHOWN_WHOLE]]
    if len(entries) > SHOWN_WHOLE:
        texts = [texts[0], f"… and {len(entries) - 1:,} more"]
    details = [(error_details(entry), _line(entry)) for entry in entries[:LINES_KEPT]]
    by_line: dict[int, tuple[str, str]] = {}
    for one, line in details:
        if line is not None:
            by_line.setdefault(line, (one.code, one.message))
    return BatchErrors(tuple(texts), next((one.code for one, _ in details if one.code), None), by_line)


def _entries(errors: object) -> list[Any]:
    value = _plain(errors)
    if isinstance(value, Mapping) and "data" in value:
        value = value["data"]
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value if entry is not None]
    return [value] if value else []


def _plain(value: object) -> object:
    """The SDK's models as mappings; everything else as it is."""
    dump = getattr(value, "to_dict", None)
    return dump(mode="python", warnings=False) if callable(dump) else value


def _text(entry: object) -> str:
    details, line = error_details(entry, TEXT_CHARS), _line(entry)
    text = ": ".join(part for part in (details.code, details.message) if part) or WITHOUT_REASON
    return text if line is None else f"{text} (line {line})"


def _line(entry: object) -> int | None:
    line = entry.get("line") if isinstance(entry, Mapping) else None
    return line if isinstance(line, int) and not isinstance(line, bool) and line > 0 else None
