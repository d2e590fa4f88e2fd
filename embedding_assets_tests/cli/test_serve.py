"""`serve` as a process: it says where it answers, and ends as every command does."""

from __future__ import annotations

import os
import re
import signal
import time

import httpx
import pytest

from embedding_assets_tests.cli.commands import failed
from embedding_assets_tests.dagster_defs.runs.processes import start_command
from embedding_assets_tests.dagster_defs.runs.world import World

WAIT_SECONDS = 60


def test_it_answers_until_a_signal_ends_it(world: World) -> None:
    """One line with the address, one line at the end, the exit code of the signal."""
    environment = {**os.environ, **world.environment}
    process = start_command(["serve", "--port", "0", "--database", "lines"], environment, world.home)
    stdout = world.home / "stdout"
    stdout.touch()
    try:
        deadline = time.monotonic() + WAIT_SECONDS
        while not (said := re.search(r"http://127\.0\.0\.1:\d+", stdout.read_text())):
            assert process.is_alive(), (world.home / "stderr").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert httpx.get(f"{said[0]}/v1", timeout=30).json() == {"databases": ["lines"]}
        os.kill(process.ident or 0, signal.SIGTERM)
        process.join(WAIT_SECONDS)
    finally:
        process.kill()
        process.join()
    assert process.exitcode == 128 + signal.SIGTERM
    assert (world.home / "stderr").read_text() == "error: interrupted by SIGTERM\n"
    assert len(stdout.read_text().splitlines()) == 1


@pytest.mark.usefixtures("world")
def test_an_address_that_cannot_be_used_is_one_line() -> None:
    """And an unknown database too."""
    assert failed("serve", "--host", "203.0.113.7").startswith("cannot listen on 203.0.113.7:8000: ")
    assert failed("serve", "--database", "pages").startswith("no database is called 'pages'")
