"""How much an import may bring to this machine."""

from __future__ import annotations

import shutil
from pathlib import Path

from embedding_assets.errors import InputError

MOST_ENTRIES = 10_000
"""Files and folders of a Chroma directory; a real one has some dozens."""
SPARE_BYTES = 2**30
"""What is left free on the disk."""


def check_room(size: int, folder: Path, source: str) -> None:
    """Raise InputError if there is no room for `size` more bytes where `folder` is, or will be."""
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if size + SPARE_BYTES > shutil.disk_usage(place).free:
        raise InputError(f"{source} needs {size:,} bytes more than there is room for in {place}")
