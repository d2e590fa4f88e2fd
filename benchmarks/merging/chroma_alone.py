"""What Chroma's own `add` takes of a merge: what is left after it is all that anybody else could make cheaper."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from benchmarks.measure import Cost, measured
from embedding_assets.chroma.collection import ChromaRows, ChromaWriter


@contextmanager
def chroma_adds() -> Iterator[Cost]:
    """The cost of all calls of `ChromaWriter.add` inside, which is one call of Chroma's `add` and nothing more."""
    cost = Cost()
    add = ChromaWriter.add

    def timed(writer: ChromaWriter, rows: ChromaRows) -> None:
        with measured() as one:
            add(writer, rows)
        cost.wall += one.wall
        cost.cpu += one.cpu
        cost.written += one.written

    with patch.object(ChromaWriter, "add", timed):
        yield cost
