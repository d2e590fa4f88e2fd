"""Whether the process that worked on a run is gone: said only if it is certain."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from embedding_assets.processes import process_identity
from embedding_assets.processes.process_identity import certainly_gone, own_identity

pytestmark = pytest.mark.skipif(not process_identity.BOOT_ID.exists(), reason="the system has no /proc")


def own() -> list[str]:
    """Host, boot, process namespace, id and start time of this process."""
    identity = own_identity()
    assert identity is not None
    return identity.split("|")


def child(code: str) -> subprocess.Popen[str]:
    """A process of ours that told who it is."""
    told = "from embedding_assets.processes.process_identity import own_identity; print(own_identity())"
    return subprocess.Popen(
        [sys.executable, "-c", f"{told}; import sys; sys.stdout.flush(); {code}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def identity_of(process: subprocess.Popen[str]) -> str:
    """What it told."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_process_that_runs_is_not_gone() -> None:
    """Neither this one nor another of this machine."""
    assert not certainly_gone("|".join(own()))
    with child("sys.stdin.read()") as process:
        identity = identity_of(process)
        assert identity.split("|")[3] == str(process.pid)
        assert not certainly_gone(identity)
        process.kill()
        deadline = time.monotonic() + 10
        while not certainly_gone(identity):
            assert time.monotonic() < deadline, "a killed process that nobody waited for still counts as alive"
            time.sleep(0.01)
    assert certainly_gone(identity)


def test_another_process_of_the_same_number_does_not_count() -> None:
    """Process ids come again: the start time tells that it is another one."""
    *place, started = own()
    assert certainly_gone("|".join([*place, str(int(started) - 1)]))


@pytest.mark.parametrize("position", [0, 1, 2], ids=["host", "boot", "namespace"])
def test_nothing_is_certain_of_another_machine_or_boot(position: int) -> None:
    """A process that cannot be looked for is not said to be gone."""
    identity = own()
    identity[3] = "4194999"
    assert certainly_gone("|".join(identity))
    identity[position] = "other"
    assert not certainly_gone("|".join(identity))


@pytest.mark.parametrize("identity", ["", "unknown", "a|b|c|d", "a|b|c|d|e|f"])
def test_what_is_no_identity_is_not_gone(identity: str) -> None:
    """What another program wrote there."""
    assert not certainly_gone(identity)
