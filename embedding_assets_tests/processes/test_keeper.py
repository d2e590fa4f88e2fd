"""A kept command ends with who started it, however that one ends, and takes its own children with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import embedding_assets

WAIT_SECONDS = 30
ROOT = str(Path(embedding_assets.__file__).parent.parent)

COMMAND = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""
"""Writes its id and that of a child of its own, which it does not care for."""

PARENT = """
import os, subprocess, sys
module = "embedding_assets.processes.keeper"
keeper = subprocess.Popen([sys.executable, "-m", module, str(os.getpid()), *sys.argv[1:]])
print(keeper.pid, flush=True)
keeper.wait()
"""


def is_running(pid: int) -> bool:
    """Whether the process does anything any more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes by /proc")
@pytest.mark.parametrize(
    ("target", "end"),
    [
        ("parent", signal.SIGKILL),
        ("parent", signal.SIGHUP),
        ("keeper", signal.SIGTERM),
        ("keeper", signal.SIGKILL),
    ],
)
def test_nothing_outlives_the_parent(target: str, end: signal.Signals) -> None:
    """The parent or the keeper itself is killed: the command and, if the keeper can, its children are gone."""
    environment = {**os.environ, "PYTHONPATH": ROOT}
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, sys.executable, "-c", COMMAND],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert parent.stdout is not None
    keeper, command, child = (int(word) for _ in range(2) for word in parent.stdout.readline().split())
    os.kill(parent.pid if target == "parent" else keeper, end)
    gone = [keeper, command] if (target, end) == ("keeper", signal.SIGKILL) else [keeper, command, child]
    deadline = time.monotonic() + WAIT_SECONDS
    try:
        while any(is_running(pid) for pid in gone):
            assert time.monotonic() < deadline, [pid for pid in gone if is_running(pid)]
            time.sleep(0.05)
    finally:
        for pid in (parent.pid, keeper, command, child):
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)
        parent.wait()


@pytest.mark.parametrize(
    ("command", "code"), [("import sys; sys.exit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137)]
)
def test_the_exit_code_is_the_commands(command: str, code: int) -> None:
    """As a shell reports it."""
    arguments = [str(os.getpid()), sys.executable, "-c", command]
    done = subprocess.run(
        [sys.executable, "-m", "embedding_assets.processes.keeper", *arguments],
        env={**os.environ, "PYTHONPATH": ROOT},
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert done.returncode == code
