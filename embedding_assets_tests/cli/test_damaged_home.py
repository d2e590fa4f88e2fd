"""A damaged Dagster home stops `ingest` with one line that says what may be deleted, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
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


def two_versions(path: Path) -> None:
    """As two processes leave it that make it at once, without our lock: `dagster dev` and its daemon, say."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("INSERT INTO alembic_version VALUES ('5771160a95ad')")


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("history/runs.db", overwrite),
        ("history/runs.db", halve),
        ("history/runs/index.db", overwrite),
        ("history/runs/index.db", replace_by_directory),
        ("history/runs.db", two_versions),
        ("schedules/schedules.db", two_versions),
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


OPEN_AT_ONCE = """
import sys
from embedding_assets.cli.home import dagster_instance
print("ready", flush=True)
sys.stdin.readline()
with dagster_instance() as instance:
    print(len(instance.get_runs()))
"""


def test_processes_that_open_a_new_home_at_once(tmp_path: Path) -> None:
    """One makes the databases, the others wait for it; each has one version afterwards."""
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path)}
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", OPEN_AT_ONCE],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert [(process.communicate()[0], process.returncode) for process in started] == [("0\n", 0)] * 4
    for name in ("history/runs.db", "history/runs/index.db", "schedules/schedules.db"):
        with closing(sqlite3.connect(tmp_path / name)) as database:
            assert len(database.execute("SELECT * FROM alembic_version").fetchall()) == 1
