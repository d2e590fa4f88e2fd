"""The floor: hnswlib building the same graph from vectors in memory with all processors, and copying the bytes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from benchmarks.records import Records

LINKS = 16
CONSTRUCTION = 100
"""Chroma's own parameters."""


def build(records: Records, folder: Path) -> Path:
    """Build and save the graph, and copy its file once, as an upload would read it."""
    import hnswlib

    count, dimensions = records.vectors.shape
    index: Any = hnswlib.Index("l2", dimensions)
    index.init_index(count, M=LINKS, ef_construction=CONSTRUCTION)
    index.set_num_threads(os.cpu_count() or 1)
    index.add_items(records.vectors)
    index.save_index(str(folder / "index.bin"))
    return Path(shutil.copyfile(folder / "index.bin", folder / "copy.bin"))
