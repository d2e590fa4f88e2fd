"""What goes wrong is one line that says what and where; nothing is half done; no secret is ever shown."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from embedding_assets_tests.cli.commands import SECRETS, Outcome, command, failed
from embedding_assets_tests.orchestration.processes import start_command
from embedding_assets_tests.orchestration.world import World, texts

CLOSED = "http://127.0.0.1:9"
LONGEST_WAIT_SECONDS = 90

GOOD = {"id": "one", "text": "first"}


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    """Writes lines to a file to submit."""

    def write(*lines: object, name: str = "records.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
        return path

    return write


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
def test_a_setting_that_is_not_allowed(world: World, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The line names the variable, its value and what is allowed."""
    value, allowed = SETTINGS[name]
    monkeypatch.setenv(name, value)
    error = failed("status", "--json")
    assert all(part in error for part in [name, value, *allowed])


@pytest.mark.parametrize("name", ["DYNAMODB_TABLE_NAME", "CHROMADB_BUCKET"])
def test_a_setting_that_is_missing(world: World, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The line names the variable and what it is for; an empty value is a missing one."""
    monkeypatch.delenv(name)
    assert failed("status").startswith(f"{name} is not set")
    monkeypatch.setenv(name, "")
    assert failed("status").startswith(f"{name} is not set")


@pytest.mark.parametrize(
    "arguments", [("status",), ("ingest",), ("reset", "-b", "x", "-s", "PENDING")], ids=lambda it: it[0]
)
def test_a_table_that_is_not_there(
    world: World, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
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
    world: World, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    """The line names the bucket, and says that it is the bucket that is missing."""
    monkeypatch.setenv("CHROMADB_BUCKET", "no-such-bucket")
    error = failed_at_last(*arguments)
    assert "no-such-bucket" in error
    assert "NoSuchBucket" in error


def test_submitting_to_a_bucket_that_is_not_there(
    world: World, monkeypatch: pytest.MonkeyPatch, file: Callable[..., Path]
) -> None:
    """Nothing is sent to OpenAI, no row is made."""
    monkeypatch.setenv("CHROMADB_BUCKET", "no-such-bucket")
    assert "no-such-bucket" in failed_at_last("submit", "lines", str(file(GOOD)))
    assert world.rows() == {}
    assert world.server.control.get("/_control/counters").json() == {}


def failed_at_last(*arguments: str) -> str:
    """The last line on stderr of a command that told of its progress before it failed."""
    outcome = command(*arguments)
    assert (outcome.code, outcome.stdout) == (1, ""), outcome
    lines = outcome.stderr.splitlines()
    assert [line.startswith("error: ") for line in lines] == [False] * (len(lines) - 1) + [True]
    assert "Traceback" not in outcome.stderr
    return lines[-1].removeprefix("error: ")


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
    """The line names the variable, never the value, though the answer repeats it; nor does any file or row."""
    message = f"Incorrect API key provided: {SECRETS['OPENAI_API_KEY']}."
    refused = {"times": None, "status": 401, "code": "invalid_api_key", "message": message}
    world.plant("one", texts("one-", 1))
    world.server.fault("GET /v1/batches/{id}", **refused)
    world.server.fault("POST /v1/files", **refused)
    assert "OPENAI_API_KEY" in failed_at_last("submit", "lines", str(file(GOOD)))
    ingested = command("ingest", "--json")
    assert ingested.code == 1
    assert "OPENAI_API_KEY" in ingested.stderr.splitlines()[-1]
    assert world.statuses() == {"one": "PENDING"}
    key = SECRETS["OPENAI_API_KEY"].encode()
    kept = [path for path in world.home.rglob("*") if path.is_file()]
    assert [path.name for path in kept if key in path.read_bytes()] == []
    assert [name for name in world.keys("") if key in world.services.store.get(name)] == []
    assert key not in repr(world.rows()).encode()


@pytest.mark.parametrize("arguments", [("status",), ("ingest", "--json")], ids=lambda it: it[0])
def test_debugging_shows_no_secret(world: World, arguments: tuple[str, ...]) -> None:
    """`--debug` brings tracebacks and the logs of the SDKs, and not a word of a key, secret or session token."""
    message = f"Incorrect API key provided: {SECRETS['OPENAI_API_KEY']}."
    world.server.fault("*", times=None, status=401, code="invalid_api_key", message=message)
    world.put_row("one")
    process = start_command(["--debug", *arguments], dict(os.environ), world.home)
    process.join(LONGEST_WAIT_SECONDS)
    stderr = (world.home / "stderr").read_text()
    assert process.exitcode == (arguments[0] == "ingest")
    assert "DEBUG" in stderr
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
    "half a character": ('{"id": "two", "text": "\\ud800"}', "is not JSON"),
}


@pytest.mark.parametrize("kind", BROKEN_LINES)
def test_a_broken_line_refuses_the_whole_file(world: World, file: Callable[..., Path], kind: str) -> None:
    """File and line are named; neither bucket nor table nor OpenAI got anything, of this or the other file."""
    line, reason = BROKEN_LINES[kind]
    good, broken = file(GOOD, name="good.jsonl"), file(GOOD, line, name="broken.jsonl")
    error = failed("submit", "lines", str(good), str(broken))
    assert error.startswith(f"{broken} line 2")
    assert reason in error
    assert world.keys("") == set()
    assert world.rows() == {}
    assert world.server.control.get("/_control/counters").json() == {}


def test_files_that_cannot_be_read(world: World, tmp_path: Path, file: Callable[..., Path]) -> None:
    """Not there, a folder, empty, no Parquet: one line that names the file."""
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    empty = file("", name="empty.jsonl")
    for path in (tmp_path / "missing.jsonl", tmp_path, empty, tmp_path / "bad.parquet"):
        assert failed("submit", "lines", str(path)).startswith(str(path))
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
        (("snapshots", "show", "lines", "--version", "9-none"), "9-none"),
        (("snapshots", "pull", "lines", "--to", "pulled"), "no published version"),
    ],
    ids=lambda it: " ".join(it) if isinstance(it, tuple) else "",
)
def test_what_does_not_exist_is_named(world: World, arguments: tuple[str, ...], named: str) -> None:
    """Databases, batches and versions; for a database, which there are."""
    assert named in failed(*arguments)


def test_an_unusable_dagster_home(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file stands where the folder should be: one line that names it."""
    home = tmp_path / "a-file"
    home.write_text("")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    assert str(home) in failed("ingest")


def test_an_execution_that_failed(world: World) -> None:
    """Exit code 1, a line that names the execution and the step; the report is one JSON document all the same."""
    world.plant("first", texts("first-", 2))
    assert world.ingest().failures == []
    published = world.published()
    index = next(file.key for file in published.files if file.path == "records.arrow")
    kept = world.services.store.get(index)
    world.services.store.put(index, kept[:-8])
    world.plant("second", texts("second-", 2, seed=10))

    outcome = command("ingest", "--until-drained", "--json")
    assert outcome.code == 1
    (execution,) = outcome.json["executions"]
    *_, last = outcome.stderr.splitlines()
    assert last.startswith(f"error: execution {execution} of lines failed: lines__final_snapshot: ")
    assert index in last
    assert "Traceback" not in outcome.stderr
    assert outcome.json["versions"] == {"lines": published.version}
    assert (outcome.json["marked"], outcome.json["waiting"]) == ([], ["second"])
    assert world.published() == published
