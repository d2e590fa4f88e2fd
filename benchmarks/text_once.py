"""What sharing requests saves on files of records: `python -m benchmarks.text_once FILE…`. Nothing is sent."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from embedding_assets.databases import LINES
from embedding_assets.submission.parts import EmbeddingModel, Splitter, request_line
from embedding_assets.submission.record_file import Record, read_records
from embedding_assets.submission.tokens import price_usd

MODEL = EmbeddingModel("text-embedding-3-small", 1536)


@dataclass(frozen=True)
class Need:
    """What a submission of a file sends to OpenAI."""

    requests: int
    tokens: int
    size: int

    @property
    def usd(self) -> float:
        """Its price in the Batch API."""
        return price_usd(self.tokens, MODEL.model) or 0.0


def need(records: Sequence[Record], *, singly: bool) -> Need:
    """What is sent for records of which none is published, with or without sharing."""
    with tempfile.TemporaryDirectory() as folder:
        splitter = Splitter(LINES, MODEL, Path(folder), singly=singly)
        splitter.add(records)
        parts = splitter.close()
    texts = [(one.id, one.text) for one in records] if singly else {one.text: one.id for one in records}.items()
    size = sum(len(request_line(record_id, text, MODEL)) for record_id, text in texts)
    return Need(sum(part.requests for part in parts), sum(part.tokens for part in parts), size)


def main(files: Sequence[str]) -> None:
    """A row for each figure of each file: each record singly, shared, and their ratio."""
    table = Table("file", "figure", "each record singly", "each text once", "ratio")
    for name in files:
        records = list(read_records(Path(name)))
        alone, shared = need(records, singly=True), need(records, singly=False)
        for figure, form in (("requests", ",d"), ("tokens", ",d"), ("size", ",d"), ("usd", ".6f")):
            one, other = getattr(alone, figure), getattr(shared, figure)
            table.add_row(Path(name).stem, figure, f"{one:{form}}", f"{other:{form}}", f"{other / one:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
