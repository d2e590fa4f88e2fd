"""The shared root as it is set: which mode holds, who uses it, and that each marking repairs it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from embedding_assets.dagster_defs.runs.marking import mark
from embedding_assets.databases import LINES
from embedding_assets.errors import SettingsError
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets.services import Services, connect
from embedding_assets.settings import Settings
from embedding_assets.versions.shared_root import SharedVersions
from embedding_assets_tests.cli.commands import command, failed
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.world import World, open_world, texts, tick
from embedding_assets_tests.shared_root.conftest import wrong_in


@pytest.fixture
def world(
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    tmp_path: Path,
    root: Path,
) -> Iterator[World]:
    """A world with a shared root."""
    with open_world(stack, aws, openai_clients[1], tmp_path / "home", CHROMA_ROOT=str(root)) as opened:
        yield opened


def shared(world: World, root: Path) -> SharedVersions:
    """The versions on the root."""
    return SharedVersions(world.services.store, LINES, root)


def unmark(world: World) -> None:
    """The batch b1 is live again, and nothing is known to be marked."""
    row = world.rows()["MARKED#lines"]
    world.dynamodb.delete_item(TableName=world.table, Key={name: {"S": row[name]} for name in ("PK", "SK")})
    world.put_row("b1")


ROOTS = ["unset", "missing", "a file", "read-only", "writable"]
USED = {("auto", "writable"), ("efs", "writable")}


@pytest.mark.parametrize("kind", ROOTS)
@pytest.mark.parametrize("mode", ["s3", "efs", "auto"])
def test_the_mode_that_holds(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, kind: str
) -> None:
    """auto is efs where the root is a directory that can be written, else s3; efs demands one, in one line."""
    path = tmp_path / "mount"
    if kind == "a file":
        path.touch()
    elif kind != "missing":
        path.mkdir()
    if kind == "read-only":
        monkeypatch.setattr(os, "access", lambda path, mode: False)
    root = None if kind == "unset" else path
    chosen = settings.model_copy(update={"storage_mode": mode, "chroma_root": root})
    services = Services(chosen)
    if mode == "efs" and kind != "writable":
        with pytest.raises(SettingsError, match="CHROMA_ROOT") as raised:
            services.shared_versions(LINES)
        assert len(str(raised.value).splitlines()) == 1
        with pytest.raises(SettingsError, match="CHROMA_ROOT"):
            services.final_merger(LINES, lambda line: None)
        return
    found = services.shared_versions(LINES)
    expected = path if (mode, kind) in USED else None
    assert (found.root if found else None) == expected
    for part in (services.final_merger, services.rollback, services.collector):
        assert part(LINES, lambda line: None).shared == found


def test_ingest_lays_what_it_publishes(world: World, root: Path) -> None:
    """A run takes the root from the environment; the next one its base from there, and moves the link."""
    for number in (1, 2):
        world.plant(f"b{number}", texts(f"b{number}-", 2, seed=10 * number))
        report = world.ingest(LINES)
        assert report.failures == []
        assert shared(world, root).link.shown() == report.versions["lines"]
        assert wrong_in(shared(world, root).directory(report.versions["lines"])) == []
    assert len(shared(world, root).laid()) == 2


def test_each_marking_repairs_the_root(world: World, root: Path) -> None:
    """What could not be laid is laid by the next tick of the completion sensor, or by the marking of an ingest."""
    world.plant("b1", texts("b1-", 2))
    published = world.ingest(LINES).versions["lines"]
    shutil.rmtree(root / "lines")
    data = tick(world, "lines_completion")
    assert "no batch left to mark" in (data.skip_message or "")
    assert shared(world, root).link.shown() == published
    assert wrong_in(shared(world, root).directory(published)) == []
    shutil.rmtree(root / "lines")
    world.ingest(LINES)
    assert shared(world, root).link.shown() == published


def test_a_root_that_fails_stops_no_marking(world: World, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch is marked, and Dagster told, whatever is wrong with the root; that is one warning."""
    world.plant("b1", texts("b1-", 2))
    world.ingest(LINES)
    unmark(world)
    shutil.rmtree(root)
    told: list[str] = []
    assert [one.batch_id for one in mark(world.services, LINES, told.append)] == ["b1"]
    assert len(told) == 1
    assert told[0].startswith("warning: ")
    monkeypatch.setenv("CHROMADB_STORAGE_MODE", "efs")
    told.clear()
    assert mark(connect(), LINES, told.append) == []
    assert told == [
        f"warning: CHROMA_ROOT={str(root)!r} is not allowed: "
        "with CHROMADB_STORAGE_MODE=efs it must be a directory that can be written"
    ]


def test_an_execution_that_could_not_be_laid_as_demanded_is_not_begun(
    world: World, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mode efs without its root: ingest fails in one line before it plans anything, and says which variable."""
    world.plant("b1", texts("b1-", 2))
    monkeypatch.setenv("CHROMADB_STORAGE_MODE", "efs")
    shutil.rmtree(root)
    before = world.objects(), world.rows()
    outcome = command("ingest", "--database", "lines")
    assert outcome.code == 1
    assert outcome.stderr.splitlines()[-1].startswith(f"error: CHROMA_ROOT={str(root)!r} is not allowed")
    assert (world.objects(), world.rows()) == before
    assert world.instance.get_runs() == []
    assert "CHROMA_ROOT" in failed("snapshots", "gc", "lines")


def test_gc_tells_of_the_root(world: World, root: Path) -> None:
    """The JSON document and the table have the kind `shared`; what lies there under a version's name goes too."""
    world.plant("b1", texts("b1-", 2))
    published = world.ingest(LINES).versions["lines"]
    told = command("snapshots", "gc", "lines", "--dry-run", "--json").json
    assert (told["shared"], told["kept"]) == ([], [published])
    foreign = shared(world, root).directory("1-0123456789ab")
    foreign.mkdir()
    (foreign / "file").write_bytes(b"12345")
    os.utime(foreign, (0, 0))
    told = command("snapshots", "gc", "lines", "--json").json
    assert told["shared"] == [{"owner": "1-0123456789ab", "objects": 1, "bytes": 5}]
    assert not foreign.exists()
    assert shared(world, root).link.shown() == published
    assert "shared" in command("snapshots", "gc", "lines").stdout


def test_events_of_marking_are_told_before_the_root_is_seen_to(world: World, root: Path) -> None:
    """Copying a large version takes long; whoever is killed over it has told what it marked."""
    world.plant("b1", texts("b1-", 2))
    world.ingest(LINES)
    unmark(world)
    shutil.rmtree(root / "lines")
    order: list[str] = []
    mark(world.services, LINES, lambda line: order.append("laid"), lambda rows: order.append("marked"))
    assert order == ["marked", "laid"]
