"""A damaged Dagster home stops `ingest` with one line that says what may be deleted, and nothing is lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from embedding_assets_tests.cli.commands import command, failed_at_last
from embedding_assets_tests.dagster_defs.runs.world import World, texts


def overwrite(path: Path) -> None:
    """A file of something else."""
    path.write_bytes(b"garbage " * 1000)


def halve(path: Path) -> None:
    """As a full disk or a crash leaves it."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def replace_by_directory(path: Path) -> None:
    """What cannot be opened, whoever tries."""
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("history/runs.db", overwrite),
        ("history/runs.db", halve),
        ("history/runs/index.db", overwrite),
        ("history/runs/index.db", replace_by_directory),
        ("dagster.yaml", overwrite),
        ("dagster.yaml", halve),
    ],
)
def test_a_damaged_home(world: World, name: str, damage: Callable[[Path], None]) -> None:
    """The line names the home, and that it may be deleted; without it, `ingest` does everything."""
    records = texts("one-", 1)
    world.plant("one", records)
    damage(world.home / name)
    error = failed_at_last("ingest", "-d", "lines")
    assert error.startswith(f"DAGSTER_HOME={world.home} cannot be used: ")
    assert "it may be deleted" in error
    assert "the table and the bucket keep every batch" in error
    assert world.statuses() == {"one": "PENDING"}
    for entry in world.home.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    assert command("ingest", "-d", "lines", "--json").json["marked"] == ["one"]
