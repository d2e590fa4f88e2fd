"""What a manifest may say of its files. Manifests come from the bucket: other programs can write them too.

Promise: a path that passes can be written below a directory of any common file system, names nothing outside
of it, and no two files of one manifest are in each other's way.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

MOST_FILES = 10_000
"""Files of one snapshot or version. A version has about ten, a foreign snapshot some dozens."""
LONGEST_PATH = 512
"""Letters of a path."""
LONGEST_PART = 255
"""Bytes of one part of a path: what file systems allow."""
DEEPEST = 16
"""Parts of a path."""


def path_problem(path: str) -> str | None:
    """Why a path below a directory cannot be used; None if it can. Never quotes the path: it may be very long."""
    parts = path.split("/")
    if not path:
        return "a path is empty"
    if len(path) > LONGEST_PATH or len(parts) > DEEPEST:
        return f"a path has more than {LONGEST_PATH} letters or {DEEPEST} parts"
    if path.startswith("/"):
        return "a path is not relative"
    if any(part in ("", ".", "..") for part in parts):
        return "a path has an empty part, . or .."
    if "\\" in path or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in path):
        return "a path has a backslash or a control character"
    if any(len(part.encode()) > LONGEST_PART for part in parts):
        return f"a part of a path has more than {LONGEST_PART} bytes"
    return None


def files_problem(paths: Iterable[str]) -> str | None:
    """Why files of these paths cannot be together in one directory; None if they can."""
    seen: set[str] = set()
    folders: set[str] = set()
    for path in paths:
        if path in seen:
            return "two files have the same path"
        seen.add(path)
        if len(seen) > MOST_FILES:
            return f"it names more than {MOST_FILES} files"
        parts = path.split("/")
        folders.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
    if seen & folders:
        return "a file has the path of a folder"
    return None
