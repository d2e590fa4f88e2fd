"""No secret is in anything that is printed, logged or stored, whatever quotes it.

Each test has a key that a gateway repeats, in every form, and passwords in the addresses of endpoint and proxy.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from dagster._utils.error import serializable_error_info_from_exc_info

from embedding_assets.cli.home import project_file
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets.processes.quiet_environment import with_this_package
from embedding_assets_tests.cli.commands import command
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.processes import start_command
from embedding_assets_tests.dagster_defs.runs.world import World, error_line, open_world, texts, tick

KEY = "sk-proj-key-that-nobody-may-see"
TOKEN = "session-token-that-nobody-may-see"
PASSWORD = "password-that-nobody-may-see"
HIDDEN = (KEY, TOKEN, PASSWORD)
LONGEST_WAIT_SECONDS = 240
DAEMON_SECONDS = 800
ECHO = {"times": None, "repeat_headers": True, "message": "a gateway's error, with the headers it got:"}


@pytest.fixture
def world(
    stack: EmbeddedStack, aws: AwsClients, openai_clients: tuple[openai.OpenAI, httpx.Client], tmp_path: Path
) -> Iterator[World]:
    """A world whose key and session token end in a line break."""
    secrets = {
        "OPENAI_API_KEY": f"{KEY}\n",
        "AWS_SESSION_TOKEN": f"{TOKEN}\r\n",
        "EMBEDDING_ASSETS_SENSOR_SECONDS": "1",
    }
    with open_world(stack, aws, openai_clients[1], tmp_path / "home", **secrets) as opened:
        yield opened


def assert_nowhere(world: World, *texts: str) -> None:
    """No secret in these texts, below the Dagster home, in the bucket or in the table."""
    for secret in HIDDEN:
        assert not any(secret in text for text in texts)
        files = [path for path in world.home.rglob("*") if path.is_file()]
        assert [str(path) for path in files if secret.encode() in path.read_bytes()] == []
        assert [key for key in world.keys("") if secret.encode() in world.services.store.get(key)] == []
        assert secret not in repr(world.rows())


def test_a_key_that_ends_in_a_line_break_works(world: World) -> None:
    """It is the key without it: batches are ingested."""
    world.plant("one", texts("one-", 1))
    outcome = command("ingest", "--json")
    assert (outcome.code, outcome.json["marked"]) == (0, ["one"]), outcome.stderr
    assert_nowhere(world, outcome.stdout, outcome.stderr)


@pytest.mark.parametrize(
    ("status", "user_information"),
    [(400, ""), (401, ""), (503, ""), (400, f"user:{PASSWORD}@")],
    ids=["400", "401", "503", "with a password"],
)
def test_a_gateway_that_repeats_the_key(
    world: World, monkeypatch: pytest.MonkeyPatch, status: int, user_information: str
) -> None:
    """The answer to a download has all headers in it: the line, the run, the row and the objects have none."""
    monkeypatch.setenv("OPENAI_BASE_URL", os.environ["OPENAI_BASE_URL"].replace("://", f"://{user_information}"))
    world.plant("one", texts("one-", 1))
    world.server.fault("GET /v1/files/{id}/content", status=status, retry_after=0, **ECHO)
    outcome = command("ingest", "-d", "lines", "--json")
    assert world.server.requests("GET /v1/files/{id}/content") > 0
    assert_nowhere(world, outcome.stdout, outcome.stderr)


def test_request_errors_that_repeat_the_key(world: World) -> None:
    """A line of OpenAI's error file, and the reason of a batch that it failed."""
    records = texts("one-", 2)
    world.plant("one", records, answered=records[:1], errors=error_line(records[1], code=f"Bearer {KEY}"))
    failure = [{"code": "invalid", "message": f"Incorrect API key provided: {KEY}"}]
    world.plant("two", records, status="failed", answered=[], batch_errors=failure)
    outcome = command("ingest", "-d", "lines", "--json")
    assert outcome.code == 0
    assert "Incorrect API key provided: ***" in world.row("two")["error"]
    told = [
        command("status", "--batch", batch_id, *form) for batch_id in ("one", "two") for form in ([], ["--json"])
    ]
    assert_nowhere(world, outcome.stdout, *(one.stdout + one.stderr for one in told))


def test_a_tick_that_fails(world: World) -> None:
    """What the daemon would store of the sensor's error has no secret, nor has any of its causes."""
    world.put_row("one")
    world.server.fault("*", status=400, **ECHO)
    with pytest.raises(Exception, match="OpenAI answered 400") as raised:
        tick(world, "lines_pending_batches")
    assert raised.tb is not None
    stored = serializable_error_info_from_exc_info((raised.type, raised.value, raised.tb)).to_string()
    assert "OpenAI answered 400" in stored
    assert_nowhere(world, stored)


def test_an_unexpected_error_that_quotes_the_key(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one of ours: Dagster stores its type and text without the secret, and what caused it."""

    def quoting(*arguments: object) -> None:
        try:
            "\u201c".encode("ascii")
        except UnicodeEncodeError as error:
            raise ValueError(f"Illegal header value b'Bearer {KEY}'") from error

    world.put_row("one")
    monkeypatch.setattr("embedding_assets.dagster_defs.sensors.pending_batches.ask_openai", quoting)
    with pytest.raises(Exception, match=r"\*\*\*") as raised:
        tick(world, "lines_pending_batches")
    assert raised.tb is not None
    stored = serializable_error_info_from_exc_info((raised.type, raised.value, raised.tb)).to_string()
    assert "ValueError: Illegal header value b'Bearer ***'" in stored
    assert "UnicodeEncodeError" in stored
    assert_nowhere(world, stored)


def test_a_proxy_with_a_password(world: World) -> None:
    """Nobody listens there, or its address makes no sense; also with tracebacks and logs."""
    world.put_row("one")
    proxies = {
        "closed": f"http://user:{PASSWORD}@127.0.0.1:9",
        "scheme": f"ftp://user:{PASSWORD}@127.0.0.1:9",
        "port": f"http://user:{PASSWORD}@127.0.0.1:port",
    }
    processes = []
    for name, address in proxies.items():
        for form in ([], ["--debug"]):
            folder = world.home / (name + "".join(form))
            folder.mkdir()
            proxied = {"HTTP_PROXY": address, "HTTPS_PROXY": address, "ALL_PROXY": address}
            environment = {**os.environ, **proxied, "DAGSTER_HOME": str(folder / "dagster")}
            processes.append((start_command(["ingest", *form], environment, folder), folder))
    for process, folder in processes:
        process.join(LONGEST_WAIT_SECONDS)
        assert process.exitcode == 1
        last = (folder / "stderr").read_text().splitlines()[-1]
        assert last.startswith("error: ")
    assert_nowhere(world)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_daemon_with_a_key_that_cannot_be_used(world: World) -> None:
    """Sensors and runs as Dagster's daemon runs them, with a key that is refused, and with a gateway's echo.

    Its databases, its logs, what it prints, the bucket and the table: the secrets are in none of them.
    """
    world.plant("one", texts("one-", 1))
    world.server.fault("GET /v1/files/{id}/content", status=400, **ECHO)
    for number, key in enumerate([f"{KEY}\n{KEY}", f"\n{KEY}\n"]):
        output = world.home / f"daemon-{number}.txt"
        environment = with_this_package({**os.environ, **world.environment, "OPENAI_API_KEY": key})
        arguments = ["run", "-w", str(project_file("workspace.yaml"))]
        with output.open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "dagster._daemon", *arguments],
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=environment,
            )
        try:
            deadline = time.monotonic() + DAEMON_SECONDS
            while not _has_shown(number, world, output):
                assert process.poll() is None, output.read_text()
                assert time.monotonic() < deadline, output.read_text()
                time.sleep(0.5)
        finally:
            process.terminate()
            process.wait()
        assert_nowhere(world)


def _has_shown(number: int, world: World, output: Path) -> bool:
    """The refusal, by the variable's name; then a run that failed."""
    if number == 0:
        return "OPENAI_API_KEY is not allowed" in output.read_text()
    return any(run.is_finished for run in world.instance.get_runs())
