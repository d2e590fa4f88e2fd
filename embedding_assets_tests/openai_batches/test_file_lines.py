"""Lines of any file: each with its number, each within bounds."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from embedding_assets.openai_batches.file_lines import numbered_lines

LONGEST = 8


def lines(path: Path, data: bytes, longest: int) -> list[tuple[int, bytes]]:
    path.write_bytes(data)
    return list(numbered_lines(path, longest))


def test_a_line_that_is_too_long_is_cut(tmp_path: Path) -> None:
    """Its rest is no line of its own, and the next line has the next number."""
    data = b"a\n" + b"b" * 30 + b"\n\n" + b"c" * LONGEST + b"\nd\n" + b"e" * 2 * LONGEST
    found = lines(tmp_path / "file", data, LONGEST)
    assert found == [(1, b"a\n"), (2, b"b" * 8), (4, b"c" * 8), (5, b"d\n"), (6, b"e" * 8)]


@given(st.lists(st.binary(max_size=20).filter(lambda data: b"\n" not in data), max_size=8))
def test_every_line_that_is_not_blank_comes_once(parts: list[bytes]) -> None:
    """Whatever bytes it has, and however long it is."""
    with tempfile.TemporaryDirectory() as folder:
        found = lines(Path(folder) / "file", b"\n".join(parts), LONGEST)
    wanted = [number for number, part in enumerate(parts, start=1) if _cut(part).strip()]
    assert [number for number, _ in found] == wanted
    assert all(len(line) <= LONGEST for _, line in found)


def _cut(part: bytes) -> bytes:
    return (part + b"\n")[:LONGEST].removeprefix(b"\xef\xbb\xbf")
