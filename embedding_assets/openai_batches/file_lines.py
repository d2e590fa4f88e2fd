"""Lines of the files that hold requests and answers, one at a time, each within bounds."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

LINE_BYTES = 64 * 2**20
"""A longer line is cut, and so no JSON any more. OpenAI's longest answer of one vector has some 70 KB."""

READ_AT_ONCE = 2**20
"""Each read lets another thread have its turn, so lines of 21 KB want fewer of them."""


def numbered_lines(path: Path, longest: int = LINE_BYTES) -> Iterator[tuple[int, bytes]]:
    """Every line that is not blank, with its number from 1, without a byte order mark."""
    with path.open("rb", buffering=READ_AT_ONCE) as stream:
        number = 0
        while line := stream.readline(longest):
            number += 1
            rest = line
            while len(rest) == longest and not rest.endswith(b"\n"):
                rest = stream.readline(longest)
            line = line.removeprefix(codecs.BOM_UTF8)
            if line and not line.isspace():
                yield number, line
