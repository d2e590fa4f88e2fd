"""A pointer that was deleted or put back, from the command line: nothing is published until it is repaired."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embedding_assets.bucket.keys import pointer_key, versions_prefix
from embedding_assets.databases import LINES
from embedding_assets.rows.snapshot_directory import MANIFEST
from embedding_assets_tests.cli.commands import command, failed, failed_at_last
from embedding_assets_tests.dagster_defs.runs.world import World, texts, tick

POINTER = pointer_key(LINES)


def two_versions(world: World) -> list[str]:
    """Two versions of 3 records each, marked, and a batch that is ready."""
    made = []
    for number in range(2):
        world.plant(f"b{number}", texts(f"r{number}-", 3, 10 * number))
        assert command("ingest").code == 0
        made.append(world.published().version)
    world.plant("late", texts("late-", 2, 50))
    return made


def lose(world: World, back_to: str | None) -> None:
    """Delete the pointer, or put it back to a version."""
    store = world.services.store
    if back_to is None:
        store.delete([POINTER])
    else:
        store.put(POINTER, store.get(f"{versions_prefix(LINES)}{back_to}/{MANIFEST}"))


def document(*arguments: str) -> Any:
    """The JSON of a command."""
    return json.loads(command(*arguments, "--json").stdout)


@pytest.mark.parametrize("deleted", [True, False], ids=["deleted", "put back"])
def test_nothing_is_published_until_it_is_repaired(world: World, deleted: bool) -> None:
    """`ingest` exits with 1 and names the version and the remedy; after the repair everything is there."""
    first, second = two_versions(world)
    lose(world, None if deleted else first)
    lost = world.objects()
    outcome = command("ingest")
    assert outcome.code == 1
    line = outcome.stderr.splitlines()[-1]
    assert line.startswith("error: ")
    assert f"version {second} of lines was published" in line
    assert "embedding-assets snapshots repair lines" in line
    assert world.objects() == lost, "something was written"
    assert world.statuses() == {"b0": "COMPLETED", "b1": "COMPLETED", "late": "PENDING"}

    for verb in ("rollback", "gc"):
        assert f"version {second}" in failed_at_last("snapshots", verb, "lines")
    assert document("status")["damaged"].keys() == {"lines"}
    assert f"version {second}" in command("status", "lines").stderr
    (check,) = [one for one in document("doctor", "--rounds", "1")["checks"] if one["name"] == "lines published"]
    assert check["status"] == "failed"
    assert "snapshots repair lines" in check["message"]

    pointer = world.objects().get(POINTER)
    planned = document("snapshots", "repair", "lines", "--dry-run")
    before = None if deleted else first
    assert planned == {
        "database": "lines",
        "repaired": True,
        "version": second,
        "before": before,
        "missing": second,
        "dry_run": True,
    }
    assert world.objects().get(POINTER) == pointer
    told = command("snapshots", "repair", "lines")
    was = "there was none" if deleted else f"it was at version {first}"
    assert (told.code, told.stdout) == (0, f"the pointer of lines is at version {second} again; {was}\n")
    assert document("status")["damaged"] == {}

    assert command("ingest").code == 0
    published = world.published()
    assert (published.parent, published.total_embeddings) == (second, 8)
    assert set(world.statuses().values()) == {"COMPLETED"}
    assert command("snapshots", "verify", "lines").code == 0
    again = command("snapshots", "repair", "lines")
    assert again.stdout == f"nothing to repair: the pointer of lines is at version {published.version}\n"


def test_a_lost_pointer_of_one_database_stops_no_other(world: World, file: Callable[..., Path]) -> None:
    """`ingest` goes on with words, the sensor skips lines with the reason, `submit` does not pay again."""
    _, second = two_versions(world)
    lose(world, None)
    [words] = [one for one in world.services.settings.databases if one.name == "words"]
    world.plant("w", texts("w-", 2, 70), database=words)
    outcome = command("ingest", "--json")
    assert outcome.code == 1
    assert json.loads(outcome.stdout)["marked"] == ["w"]
    assert f"version {second}" in outcome.stderr
    ticked = tick(world, "lines_pending_batches")
    assert f"version {second}" in failed_at_last(
        "submit", "lines", str(file({"id": "r0-0", "text": "text of r0-0"}))
    )
    assert (ticked.run_requests, second in (ticked.skip_message or "")) == ([], True)


def test_nothing_to_repair(world: World) -> None:
    """A database of which nothing was ever published."""
    assert command("snapshots", "repair", "lines").stdout == "nothing to repair: lines has no published version\n"
    assert world.objects() == {}


def test_a_pointer_that_cannot_be_read(world: World) -> None:
    """Other bytes are put right too."""
    _, second = two_versions(world)
    world.services.store.put(POINTER, b"latest")
    line = command("ingest").stderr.splitlines()[-1]
    assert "is not a version's manifest" in line
    assert "snapshots repair lines" in line
    assert command("snapshots", "repair", "lines").code == 0
    assert world.published().version == second


def test_what_was_published_is_gone_itself(world: World) -> None:
    """The line names the object that is missing, and nothing is written."""
    first, second = two_versions(world)
    lose(world, first)
    key = f"{versions_prefix(LINES)}{second}/{MANIFEST}"
    manifest = world.services.store.get(key)
    world.services.store.delete([key])
    assert f"{second}/{MANIFEST} is missing: restore it first" in failed("snapshots", "repair", "lines")
    world.services.store.put(key, manifest)
    own = [file.key for file in world.services.store.list(f"{versions_prefix(LINES)}{second}/")]
    world.services.store.delete([one for one in own if one.endswith("records.arrow")])
    assert f"version {second} of lines cannot be put back" in failed("snapshots", "repair", "lines", "--dry-run")
    assert world.published().version == first


@pytest.mark.parametrize("command_line", [("pull", "--to", "down"), ("verify",), ("show",), ("list",)])
def test_a_version_that_names_no_files(world: World, command_line: tuple[str, ...]) -> None:
    """45 embeddings, and nothing there: an error, not a success."""
    world.plant("b0", texts("r0-", 3))
    assert command("ingest").code == 0
    manifest = json.loads(world.services.store.get(POINTER))
    world.services.store.put(POINTER, json.dumps({**manifest, "files": []}).encode())
    verb, *more = command_line
    outcome = command("snapshots", verb, "lines", *more)
    assert outcome.code == 1
    assert "3 embeddings and names no file" in outcome.stdout + outcome.stderr
    assert not (world.home / "down").exists()
