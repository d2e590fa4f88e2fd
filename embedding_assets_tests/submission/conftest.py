"""Files of records, and submitting them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embedding_assets.bucket.store import Store
from embedding_assets.databases import LINES, Database
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.submission.parts import Limits
from embedding_assets.submission.sender import Sender
from embedding_assets.submission.submit import Submission, Submitter
from embedding_assets_tests.answers import line
from embedding_assets_tests.submission.bench import ASKED, LEASE_SECONDS, Submit


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    """Writes records to a file: ids, or ids with their text."""

    def write(*records: str | tuple[str, str] | dict[str, Any], name: str = "in.jsonl") -> Path:
        values = [
            record if isinstance(record, dict) else dict(zip(("id", "text"), _pair(record), strict=True))
            for record in records
        ]
        path = tmp_path / name
        path.write_text("".join(map(line, values)), encoding="utf-8")
        return path

    return write


def _pair(record: str | tuple[str, str]) -> tuple[str, str]:
    return record if isinstance(record, tuple) else (record, f"text of {record}")


@pytest.fixture
def submit(store: Store, ledger: Ledger, openai: OpenAIBatches) -> Submit:
    """Submits files."""

    def act(
        *files: Path,
        database: Database = LINES,
        deletions: Path | None = None,
        limits: Limits | None = None,
        told: list[str] | None = None,
        **options: Any,
    ) -> Submission:
        tell = (told if told is not None else []).append
        sender = Sender(store, ledger, openai, database, LEASE_SECONDS, tell, first_wait_seconds=0.01)
        return Submitter(sender, options.pop("asked", ASKED), **options).submit(files, deletions, limits)

    return act
