"""`snapshots import` as a person runs it: what is published, and that a failure leaves nothing behind."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import pytest

from embedding_assets_tests.cli.commands import command, failed_at_last
from embedding_assets_tests.dagster_defs.runs.world import World
from embedding_assets_tests.deltas import DIMENSIONS, records
from embedding_assets_tests.foreign import foreign
from embedding_assets_tests.upkeep.hostile import blind, graph_index


def test_an_import(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dry run, import, and one that Chroma cannot be asked to read: one line, no file, the version of before."""
    monkeypatch.setenv("EMBEDDING_ASSETS_DIMENSIONS", str(DIMENSIONS))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    source = foreign(tmp_path / "index", records("r", 3))
    assert command("snapshots", "import", "lines", str(source), "--dry-run", "--json").json["added"] == 3
    assert world.keys() == set()
    done = command("snapshots", "import", "lines", str(source), "--json").json
    assert (done["imported"], done["added"]) == (3, 3)
    before = world.objects()
    bad = graph_index(tmp_path / "bad", 20)
    [header] = bad.rglob("header.bin")
    header.write_bytes(header.read_bytes()[:20] + struct.pack("<Q", 2**40) + header.read_bytes()[28:])
    monkeypatch.setenv("PYTHONPATH", str(blind(tmp_path / "blind")))
    error = failed_at_last("snapshots", "import", "lines", str(bad))
    assert error.startswith(f"{bad}: it cannot be read: the process that read it ended with SIG")
    assert world.objects() == before
    assert list(temporary.iterdir()) == []
