"""A batch as returned by the API, read from JSON that may be odd.

OpenAI-compatible servers and gateways return instants as text, errors as a list, codes as numbers and statuses in
other letter case. One odd entry must not take others down, so nothing here raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from embedding_assets.openai_batches.batch_errors import read_batch_errors
from embedding_assets.openai_batches.batch_status import BY_OPENAI, END_FIELDS, ENDED, MEANING, NOT_FOUND, OURS
from embedding_assets.text.bounded_text import writable

STATUS_CHARACTERS = 64
"""A longer status is cut."""

LATEST_SECONDS = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
"""Greater numbers are no epoch seconds: milliseconds, say."""


@dataclass(frozen=True)
class RemoteBatch:
    """A batch as returned by the API. File ids are None if there is no file, also if OpenAI says `""`.

    `status` is one of OpenAI's in lower case, one of our two words, or OpenAI's own word if it is none of these:
    see `batch_status`. `errors`, `error_code` and `line_errors` are what it failed with, within bounds: see
    `BatchErrors`. `completed_count` is what `request_counts` says was answered, 0 if it does not say. `odd` says
    why an entry of the list cannot be used; None if it can.
    """

    id: str
    status: str
    created_at: datetime | None = None
    finished_at: datetime | None = None
    input_file_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: tuple[str, ...] = ()
    error_code: str | None = None
    line_errors: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    completed_count: int = 0
    odd: str | None = None

    @property
    def terminal(self) -> bool:
        """Whether OpenAI has finished with it."""
        return self.status in ENDED

    @property
    def completed(self) -> bool:
        """Whether OpenAI says that it tried every request."""
        return self.status == "completed"

    @property
    def failed(self) -> bool:
        """Whether OpenAI failed the whole batch."""
        return self.status == "failed"

    @property
    def unknown_status(self) -> str | None:
        """OpenAI's own word if it is none of its statuses that are known, else None."""
        return None if self.status in MEANING else self.status

    @property
    def lacks_output(self) -> bool:
        """Whether it is completed and has no output file, although its counts say that requests were answered."""
        return self.completed and self.output_file_id is None and self.completed_count > 0


def unknown_batch(openai_batch_id: str) -> RemoteBatch:
    """A batch that OpenAI does not know."""
    return RemoteBatch(openai_batch_id, NOT_FOUND)


def read_batch(value: object) -> RemoteBatch:
    """A batch object, or an entry of a list. What cannot be read is left out; `odd` says so if it matters."""
    if not isinstance(value, dict):
        return RemoteBatch("", "", odd="an entry that is no object")
    batch_id = _text(value.get("id"))
    if batch_id is None:
        return RemoteBatch("", "", odd="an entry without an id")
    status = _status(value.get("status"))
    created_at = _instant(value.get("created_at"))
    errors = read_batch_errors(value.get("errors"))
    return RemoteBatch(
        id=batch_id,
        status=status or "",
        created_at=created_at,
        finished_at=_finished_at(value),
        input_file_id=_text(value.get("input_file_id")),
        output_file_id=_text(value.get("output_file_id")),
        error_file_id=_text(value.get("error_file_id")),
        errors=errors.texts,
        error_code=errors.code,
        line_errors=errors.by_line,
        metadata=_metadata(value.get("metadata")),
        completed_count=_completed(value.get("request_counts")),
        odd=_odd(status, value, created_at),
    )


def _odd(status: str | None, value: dict[str, Any], created_at: datetime | None) -> str | None:
    if status is None:
        return f"status {_short(value.get('status'))}"
    return f"created_at {_short(value.get('created_at'))}" if created_at is None else None


def _status(value: object) -> str | None:
    """OpenAI's status in lower case; a word that is not known as it is."""
    if not isinstance(value, str) or not value.strip():
        return None
    word = value.strip()
    known = word.lower()
    if known in BY_OPENAI:
        return known
    return f"{word} (by OpenAI)" if word in OURS else _short_text(word)


def _instant(value: object) -> datetime | None:
    """Epoch seconds as an instant; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < LATEST_SECONDS:
        return None
    return datetime.fromtimestamp(value, UTC)


def _finished_at(value: dict[str, Any]) -> datetime | None:
    ends = (_instant(value.get(name)) for name in END_FIELDS)
    return next((end for end in ends if end is not None), None)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _metadata(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {name: text for name, text in value.items() if isinstance(name, str) and isinstance(text, str)}


def _completed(value: object) -> int:
    count = value.get("completed") if isinstance(value, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else 0


def _short(value: object) -> str:
    return _short_text(repr(value))


def _short_text(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in writable(text))[:STATUS_CHARACTERS]
