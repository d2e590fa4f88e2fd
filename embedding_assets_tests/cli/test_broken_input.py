"""Files that cannot be submitted: checked whole before anything is sent."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from embedding_assets_tests.cli.commands import GOOD, command, failed
from embedding_assets_tests.dagster_defs.runs.world import World

BROKEN_LINES = {
    "no JSON": ('{"id": "two", "text": ', "is not JSON"),
    "no object": ('["two"]', "is not a JSON object"),
    "no id": ({"text": "second"}, "id must be text"),
    "empty id": ({"id": "", "text": "second"}, "id must be text"),
    "number as id": ({"id": 2, "text": "second"}, "id must be text"),
    "no text": ({"id": "two"}, "text must be text"),
    "empty text": ({"id": "two", "text": ""}, "text must be text"),
    "number as document": ({"id": "two", "text": "second", "document": 2}, "document must be text"),
    "metadata of a kind": ({"id": "two", "text": "second", "metadata": {"a": {"b": 1}}}, "metadata"),
    "metadata as list": ({"id": "two", "text": "second", "metadata": [1]}, "metadata"),
    "id of the first line": ({"id": "one", "text": "second"}, "stands in line 1 already"),
    "half a character": ('{"id": "two", "text": "\\ud800"}', "text"),
}


@pytest.mark.parametrize("kind", BROKEN_LINES)
def test_a_broken_line_refuses_the_whole_file(shared: World, file: Callable[..., Path], kind: str) -> None:
    """File and line are named; neither bucket nor table nor OpenAI got anything, of this or the other file."""
    line, reason = BROKEN_LINES[kind]
    good, broken = file(GOOD, name="good.jsonl"), file(GOOD, line, name="broken.jsonl")
    error = failed("submit", "lines", str(good), str(broken))
    assert error.startswith(f"{broken} line 2")
    assert reason in error
    assert shared.keys("") == set()
    assert shared.rows() == {}
    assert shared.server.control.get("/_control/counters").json() == {}


def test_files_that_cannot_be_read(shared: World, tmp_path: Path, file: Callable[..., Path]) -> None:
    """Not there, a folder, empty, no Parquet: one line that names the file."""
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    empty = file("", name="empty.jsonl")
    for path in (tmp_path / "missing.jsonl", tmp_path, empty, tmp_path / "bad.parquet"):
        assert failed("submit", "lines", str(path)).startswith(str(path))
    assert shared.keys("") == set()


def test_standard_input_is_checked_like_a_file(shared: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes through a pipe is read whole first, and can be read only once."""
    lines = b'{"id": "one", "text": "first"}\n{"id": "one", "text": "again"}\n'
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines)))
    assert failed("submit", "lines", "-").startswith("standard input line 2: the id 'one'")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines.splitlines(keepends=True)[0])))
    priced = command("submit", "lines", "-", "--dry-run", "--json")
    assert (priced.code, priced.json["requests"]) == (0, 1)
    assert command("submit", "lines", "-", "--delete-ids", "-").code == 2
    assert shared.keys("") == set()
