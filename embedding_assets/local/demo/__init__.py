"""Demo receipts of invented shops, to feed the databases `lines` and `words` on one machine."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

DATABASES = ("lines", "words")
"""The databases that have demo records; those of each lie in `{name}.jsonl` beside this file."""


def records(database: str) -> list[dict[str, Any]]:
    """Return the demo records of `database` in the order of their file: `id`, `text` and `metadata` each.

    Raises LookupError, naming the databases that have demo records, where `database` is none of them.
    """
    if database not in DATABASES:
        raise LookupError(f"no demo records for the database {database!r}; there are some for {_named()}")
    text = files(__name__).joinpath(f"{database}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def _named() -> str:
    return " and ".join(DATABASES)
