"""The stack starts whole or not at all, and leaves no process and no file behind."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from embedding_assets import extras
from embedding_assets.errors import InputError, ServiceError, SettingsError
from embedding_assets.local.stack import EmbeddedStack

END_SECONDS = 60


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for_end(pids: list[int]) -> None:
    deadline = time.monotonic() + END_SECONDS
    while any(map(alive, pids)):
        assert time.monotonic() < deadline, "a server outlives its parent"
        time.sleep(0.05)


def run_and_raise(directory: Path, pids: list[int]) -> None:
    with EmbeddedStack(state_dir=directory, latency=5) as stack:
        pids += stack.pids.values()
        assert len(pids) == 2
        assert all(map(alive, pids))
        assert set(stack.environment) == {
            "AWS_ENDPOINT_URL",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_DEFAULT_REGION",
            "OPENAI_BASE_URL",
            "OPENAI_API_KEY",
            "DYNAMODB_TABLE_NAME",
            "CHROMADB_BUCKET",
        }
        raise RuntimeError("mine")


def test_both_servers_end_with_the_block_also_by_an_exception(tmp_path: Path) -> None:
    pids: list[int] = []
    with pytest.raises(RuntimeError, match="mine"):
        run_and_raise(tmp_path, pids)
    assert not any(map(alive, pids))
    assert (tmp_path / "openai_server.log").read_text("utf-8") == "", "logs are quiet"


def test_a_server_that_cannot_start_is_told_with_its_last_lines(tmp_path: Path) -> None:
    (tmp_path / "openai-files").write_text("in the way", "utf-8")
    with pytest.raises(ServiceError, match=r"openai_server ended at start .*FileExistsError") as caught:
        EmbeddedStack(state_dir=tmp_path).__enter__()
    assert "\n" not in str(caught.value)


def test_without_with_there_is_no_url() -> None:
    with pytest.raises(InputError, match="with statement"):
        EmbeddedStack().environment  # noqa: B018


def test_servers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from embedding_assets.local.stack import EmbeddedStack\n"
        "with EmbeddedStack(state_dir=Path(sys.argv[1])) as stack:\n"
        "    print(*stack.pids.values(), flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout as output:
        pids = [int(word) for word in output.readline().split()]
    assert len(pids) == 2
    assert all(map(alive, pids))
    parent.kill()
    parent.wait()
    wait_for_end(pids)


def test_a_server_alone_ends_cleanly_on_sigterm(tmp_path: Path) -> None:
    """The ready file names the port it picked itself; its temporary directory goes with it."""
    ready, scratch = tmp_path / "ready", tmp_path / "scratch"
    scratch.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "embedding_assets.local.openai_server", "--ready-file", str(ready)],
        env={**os.environ, "TMPDIR": str(scratch)},
    )
    deadline = time.monotonic() + END_SECONDS
    while not ready.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert httpx.get(f"{ready.read_text('utf-8')}/v1/models").json()["object"] == "list"
    assert len(list(scratch.iterdir())) == 1
    process.send_signal(signal.SIGTERM)
    assert process.wait(END_SECONDS) == 0
    assert list(scratch.iterdir()) == []


def test_without_the_extra_one_line_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain installation has no servers: the line says which packages are missing and how to install them."""
    find = importlib.util.find_spec
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name in ("moto", "uvicorn") else find(name))
    with pytest.raises(SettingsError, match=r"^the embedded stack needs the extra `local`: pip install") as raised:
        EmbeddedStack().__enter__()
    assert str(raised.value).endswith("pip install 'embedding-assets[local]' (not installed: moto, uvicorn)")
