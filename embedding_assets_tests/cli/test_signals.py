"""SIGINT, SIGTERM and SIGHUP end a command alike: one line, 128 and the signal's number, nothing left behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from embedding_assets.versions import publisher
from embedding_assets.versions.manifest import read_pointer
from embedding_assets_tests.cli.commands import GOOD
from embedding_assets_tests.dagster_defs.runs.processes import start_command
from embedding_assets_tests.dagster_defs.runs.world import World, texts

WAIT_SECONDS = 120
LONG_SECONDS = 60.0
LINES = {
    signal.SIGINT: "error: interrupted",
    signal.SIGTERM: "error: interrupted by SIGTERM",
    signal.SIGHUP: "error: interrupted by SIGHUP",
}


def linger_under_the_lock() -> None:
    """In the command's process: the pointer that is read under the lock takes long; before it, it does not."""
    calls = []

    def slowly(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) > 1:
            time.sleep(LONG_SECONDS)
        return read_pointer(*arguments)  # type: ignore[arg-type]

    vars(publisher)["read_pointer"] = slowly


def end_at(
    world: World,
    arguments: Sequence[str],
    moment: Callable[[], bool],
    end: signal.Signals,
    prepare: Callable[[], None] | None = None,
) -> None:
    """Start the command, send it the signal as soon as the moment has come, and look at how it ended."""
    temporary = world.home / "temporary"
    temporary.mkdir()
    environment = {**os.environ, **world.environment, "TMPDIR": str(temporary)}
    process = start_command(arguments, environment, world.home, prepare)
    deadline = time.monotonic() + WAIT_SECONDS
    try:
        while not moment():
            assert process.is_alive(), (world.home / "stderr").read_text()
            assert time.monotonic() < deadline, "the moment never came"
            time.sleep(0.02)
        begun = time.monotonic()
        os.kill(process.ident or 0, end)
        process.join(WAIT_SECONDS)
    finally:
        process.kill()
        process.join()
    stderr = (world.home / "stderr").read_text()
    assert (process.exitcode, stderr.splitlines()[-1]) == (128 + end, LINES[end])
    assert time.monotonic() - begun < LONG_SECONDS / 2
    assert "Traceback" not in stderr
    assert (world.home / "stdout").read_text() == ""
    assert list(temporary.iterdir()) == []


def owners(world: World, sort_key: str) -> list[str | None]:
    """Who holds each lock or claim."""
    pages = world.dynamodb.get_paginator("scan").paginate(TableName=world.table, ConsistentRead=True)
    items = [item for page in pages for item in page["Items"] if item["SK"]["S"] == sort_key]
    return [item.get("owner", {}).get("S") for item in items]


@pytest.mark.parametrize(
    ("arguments", "end"),
    [
        (["snapshots", "gc", "lines"], signal.SIGTERM),
        (["snapshots", "rollback", "lines"], signal.SIGHUP),
        (["snapshots", "tag", "lines", "kept"], signal.SIGINT),
    ],
    ids=lambda value: value.name if isinstance(value, signal.Signals) else value[1],
)
def test_the_lock_is_released(world: World, arguments: list[str], end: signal.Signals) -> None:
    """Who comes next does not wait for a lease; the published version stays."""
    for batch_id in ("one", "two"):
        world.plant(batch_id, texts(f"{batch_id}-", 1))
        world.ingest()
    version = world.published().version

    def held() -> bool:
        return owners(world, "LOCK") not in ([None], [])

    end_at(world, arguments, held, end, linger_under_the_lock)
    assert owners(world, "LOCK") == [None]
    assert world.published().version == version


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGHUP])
def test_submit_leaves_no_text(world: World, file: Callable[..., Path], end: signal.Signals) -> None:
    """While its upload takes long: the claim is released, no row is there, and the same command sends it."""
    path = file(*(GOOD | {"id": str(number)} for number in range(100)))
    world.server.fault("POST /v1/files", delay_seconds=LONG_SECONDS)

    def uploading() -> bool:
        held = owners(world, "SUBMIT")
        return len(held) == 2 and None not in held and world.server.requests("POST /v1/files") > 0

    end_at(world, ["submit", "lines", str(path)], uploading, end)
    assert owners(world, "SUBMIT") == [None, None]
    assert world.rows() == {}
