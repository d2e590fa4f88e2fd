"""What polling does before our merge, and the script does itself: parse outputs, write deltas."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from embedding_assets.openai_batches.reconcile import reconcile
from embedding_assets.openai_batches.requests import read_records


def parse(outputs: Sequence[Path], dimensions: int, folder: Path) -> int:
    """Join every output with its records into an Arrow delta, as a poll does; how many records there were."""
    empty = folder / "empty"
    empty.touch()
    count = 0
    for number, path in enumerate(outputs):
        requests = read_records(path.with_suffix(".records"), path.name)
        arrow = folder / f"delta-{number}.arrow"
        found = reconcile(requests, dimensions, (path, empty), "completed", arrow, None)
        count += found.written
    return count
