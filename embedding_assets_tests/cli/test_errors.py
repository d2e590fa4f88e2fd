"""What goes wrong is one line that says what and where; nothing is half done; no secret is ever shown."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from embedding_assets_tests.cli.commands import GOOD, SECRETS, Outcome, command, failed, failed_at_last
from embedding_assets_tests.dagster_defs.runs.processes import start_command
from embedding_assets_tests.dagster_defs.runs.world import World, texts

CLOSED = "http://127.0.0.1:9"
LONGEST_WAIT_SECONDS = 90

SETTINGS = {
    "EMBEDDING_ASSETS_INDEX_WRITER": ("magic", ["'chroma', 'direct' or 'auto'"]),
    "EMBEDDING_ASSETS_INTERMEDIATE_FORMAT": ("parquet", ["'arrow' or 'chroma'"]),
    "EMBEDDING_ASSETS_POLL_CONCURRENCY": ("0", ["greater than or equal to 1"]),
    "EMBEDDING_ASSETS_CHUNK_SIZE": ("ten", ["integer"]),
    "EMBEDDING_ASSETS_LOCK_LEASE_SECONDS": ("-1", ["greater than 0"]),
    "EMBEDDING_ASSETS_DATABASES_FILE": ("/nowhere/databases.yaml", ["cannot be read"]),
    "CHROMADB_STORAGE_MODE": ("nfs", ["'s3', 'efs' or 'auto'"]),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_that_is_not_allowed(shared: World, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The line names the variable, its value and what is allowed."""
    value, allowed = SETTINGS[name]
    monkeypatch.setenv(name, value)
    error = failed("status", "--json")
    assert all(part in error for part in [name, value, *allowed])


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("status", "--batch", "no-such-batch", "--json"), 1),
        (("status", "no-such-database", "--json"), 1),
        (("search", "lines", "text", "-k", "0", "--json"), 2),
        (("--json",), 2),
        (("no-such-command", "--json"), 2),
        (("submit", "lines", "/nowhere/records.jsonl", "--json"), 1),
        (("doctor", "--json", "--no-such-option"), 2),
    ],
    ids=lambda it: str(it),
)
def test_with_json_a_failure_is_one_document_too(shared: World, arguments: tuple[str, ...], code: int) -> None:
    """It has the line that is on stderr, so that a program need not tell an empty stdout from a broken one."""
    outcome = command(*arguments)
    assert outcome.code == code
    assert outcome.json == {"error": outcome.last_error}


def test_without_json_or_after_a_double_dash_stdout_stays_empty(shared: World) -> None:
    """What is after `--` is an argument."""
    for arguments in (["status", "--batch", "no-such-batch"], ["search", "--", "lines", "--json"]):
        outcome = command(*arguments)
        assert (outcome.code, outcome.stdout) == (1, "")


@pytest.mark.parametrize("name", ["DYNAMODB_TABLE_NAME", "CHROMADB_BUCKET"])
def test_a_setting_that_is_missing(shared: World, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The line names the variable and what it is for; an empty value is a missing one."""
    monkeypatch.delenv(name)
    assert failed("status").startswith(f"{name} is not set")
    monkeypatch.setenv(name, "")
    assert failed("status").startswith(f"{name} is not set")


@pytest.mark.parametrize(
    "arguments", [("status",), ("ingest",), ("reset", "-b", "x", "-s", "PENDING")], ids=lambda it: it[0]
)
def test_a_table_that_is_not_there(
    shared: World, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    """The line names the table."""
    monkeypatch.setenv("DYNAMODB_TABLE_NAME", "no-such-table")
    assert "no-such-table" in failed_at_last(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [("ingest",), ("search", "lines", "text"), ("snapshots", "list", "lines")],
    ids=" ".join,
)
def test_a_bucket_that_is_not_there(
    shared: World, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    """The line names the bucket, and says that it is the bucket that is missing."""
    monkeypatch.setenv("CHROMADB_BUCKET", "no-such-bucket")
    error = failed_at_last(*arguments)
    assert "no-such-bucket" in error
    assert re.search("NoSuchBucket|no bucket|not exist", error)


def test_submitting_to_a_bucket_that_is_not_there(
    shared: World, monkeypatch: pytest.MonkeyPatch, file: Callable[..., Path]
) -> None:
    """Nothing is sent to OpenAI, no row is made."""
    monkeypatch.setenv("CHROMADB_BUCKET", "no-such-bucket")
    assert "no-such-bucket" in failed_at_last("submit", "lines", str(file(GOOD)))
    assert shared.rows() == {}
    assert shared.server.control.get("/_control/counters").json() == {}


def test_no_key(world: World, monkeypatch: pytest.MonkeyPatch, file: Callable[..., Path]) -> None:
    """What needs OpenAI says which variable is missing; what does not works without it."""
    monkeypatch.delenv("OPENAI_API_KEY")
    assert command("status", "--json").code == 0
    assert command("ingest", "--json").code == 0
    assert failed_at_last("submit", "lines", str(file(GOOD))).startswith("OPENAI_API_KEY is not set")
    assert world.rows() == {}
    world.put_row("one")
    assert failed_at_last("ingest").startswith("OPENAI_API_KEY is not set")


def test_a_key_that_openai_refuses(world: World, file: Callable[..., Path]) -> None:
    """The line names the variable, never the value, though the answer repeats it; no row is made."""
    message = f"Incorrect API key provided: {SECRETS['OPENAI_API_KEY']}."
    world.server.fault("POST /v1/files", status=401, code="invalid_api_key", message=message)
    assert "OPENAI_API_KEY" in failed_at_last("submit", "lines", str(file(GOOD)))
    assert world.rows() == {}


def test_an_execution_that_failed(world: World) -> None:
    """Exit code 1, and a line that names execution, step and reason; the report is one JSON document all the same.

    The reason is a key that OpenAI refuses. Its value is in no output, file, object or row, though OpenAI's
    answer repeats it.
    """
    message = f"Incorrect API key provided: {SECRETS['OPENAI_API_KEY']}."
    refused = {"times": None, "status": 401, "code": "invalid_api_key", "message": message}
    world.plant("one", texts("one-", 1))
    world.server.fault("GET /v1/batches/{id}", **refused)

    outcome = command("ingest", "--until-drained", "--json")
    assert outcome.code == 1
    (execution,) = outcome.json["executions"]
    *progress, last = outcome.stderr.splitlines()
    assert all(line.startswith("lines: ") or line.startswith("words: ") for line in progress)
    assert last.startswith(f"error: execution {execution} of lines failed: lines__execution_poll_results: ")
    assert "OPENAI_API_KEY" in last
    assert (outcome.json["versions"], outcome.json["marked"], outcome.json["waiting"]) == ({}, [], ["one"])
    assert world.statuses() == {"one": "PENDING"}

    key = SECRETS["OPENAI_API_KEY"].encode()
    kept = [path for path in world.home.rglob("*") if path.is_file()]
    assert [path.name for path in kept if key in path.read_bytes()] == []
    assert [name for name in world.keys("") if key in world.services.store.get(name)] == []
    assert key not in repr(world.rows()).encode()


@pytest.mark.parametrize("arguments", [("status",), ("ingest", "--json")], ids=lambda it: it[0])
def test_debugging_shows_no_secret(world: World, arguments: tuple[str, ...]) -> None:
    """`--debug` brings tracebacks and the SDKs' logs, and not a word of a key, a secret or a session token."""
    message = f"Incorrect API key provided: {SECRETS['OPENAI_API_KEY']}."
    world.server.fault("*", times=None, status=401, code="invalid_api_key", message=message)
    world.put_row("one")
    process = start_command(["--debug", *arguments], dict(os.environ), world.home)
    process.join(LONGEST_WAIT_SECONDS)
    stderr = (world.home / "stderr").read_text()
    assert process.exitcode == (arguments[0] == "ingest")
    assert stderr
    shown = {name for name, value in SECRETS.items() if value in stderr}
    assert shown == set()


def test_services_that_cannot_be_reached(world: World) -> None:
    """AWS on a closed port, OpenAI on a closed port: after the SDKs' own tries one line that says which."""
    world.put_row("one")
    cases = {"AWS_ENDPOINT_URL": CLOSED, "OPENAI_BASE_URL": f"{CLOSED}/v1"}
    processes = []
    for name, value in cases.items():
        folder = world.home / name
        folder.mkdir()
        environment = {**os.environ, name: value, "DAGSTER_HOME": str(folder / "dagster")}
        processes.append((start_command(["ingest"], environment, folder), folder))
    deadline = time.monotonic() + LONGEST_WAIT_SECONDS
    errors = []
    for process, folder in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        assert process.exitcode == 1
        assert (folder / "stdout").read_text() == ""
        *progress, last = Outcome(1, "", (folder / "stderr").read_text()).stderr.splitlines()
        assert all(line.startswith("lines: ") for line in progress)
        errors.append(last)
    assert errors[0].startswith("error: ")
    assert CLOSED in errors[0]
    assert errors[1].startswith("error: listing OpenAI's batches: OpenAI cannot be reached")
    assert world.statuses() == {"one": "PENDING"}
    assert world.keys("") == set()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("search", "nonsense", "text"), "lines, words"),
        (("ingest", "-d", "nonsense"), "lines, words"),
        (("status", "nonsense"), "lines, words"),
        (("snapshots", "list", "nonsense"), "lines, words"),
        (("status", "--batch", "missing"), "missing"),
        (("reprocess", "--batch", "missing"), "missing"),
        (("search", "lines", "text"), "no published version"),
        (("snapshots", "show", "lines"), "no published version"),
        (("snapshots", "show", "lines", "--version", "9-none"), "no published version"),
        (("snapshots", "pull", "lines", "--to", "pulled"), "no published version"),
    ],
    ids=lambda it: " ".join(it) if isinstance(it, tuple) else "",
)
def test_what_does_not_exist_is_named(shared: World, arguments: tuple[str, ...], named: str) -> None:
    """Databases, batches and versions; for a database, which there are."""
    assert named in failed(*arguments)


def test_an_unusable_dagster_home(shared: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file stands where the folder should be: one line that names it."""
    home = tmp_path / "a-file"
    home.write_text("")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    assert str(home) in failed("ingest")
