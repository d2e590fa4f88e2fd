"""Work in a process of its own: its answers, how it ended, and that it does not outlive who asked."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from embedding_assets.processes.apart import EndedError, answers

CHILD = "embedding_assets_tests.processes.apart_child"
ASKS = f"""
from embedding_assets.processes.apart import answers
for said in answers({CHILD!r}, {{"then": "wait"}}):
    print(said, flush=True)
"""


def gone(process: int) -> bool:
    """Whether it ended, within some seconds."""
    for _ in range(200):
        status = Path(f"/proc/{process}/stat")
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


def test_what_it_says() -> None:
    """In order; the end is its own."""
    process, last = answers(CHILD, {"then": "end"})
    assert isinstance(process, int)
    assert last == "done"


@pytest.mark.parametrize(("then", "how"), [("die", "ended with SIGSEGV"), ("fail", "ended with code 1")])
def test_how_it_ended(then: str, how: str) -> None:
    """What it said before is there."""
    said = answers(CHILD, {"then": then})
    assert isinstance(next(said), int)
    with pytest.raises(EndedError, match=how):
        next(said)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system shows no processes in /proc")
def test_it_does_not_outlive_who_asked() -> None:
    """Neither who wants no more nor who is killed leaves a process behind."""
    said = answers(CHILD, {"then": "wait"})
    process = next(said)
    said.close()  # type: ignore[attr-defined]  # a generator
    assert gone(process)
    with subprocess.Popen([sys.executable, "-c", ASKS], stdout=subprocess.PIPE, text=True) as asking:
        assert asking.stdout is not None
        child = int(asking.stdout.readline())
        asking.kill()
    assert gone(child)
