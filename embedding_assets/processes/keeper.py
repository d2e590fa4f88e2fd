"""Runs a command that must not outlive who started it.

`python -m embedding_assets.processes.keeper PARENT_PID COMMAND…`

The command gets a process group of its own. When the parent is gone, or SIGTERM, SIGINT or SIGHUP comes, the
command is asked to end by SIGINT, and after GRACE_SECONDS the whole group is killed. On Linux the kernel asks the
command to end too if this process itself is killed. The exit code is the command's.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from types import FrameType

POLL_SECONDS = 0.2
GRACE_SECONDS = 20.0
PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that a process gets when the one that made it ends."""


def keep(parent: int, command: list[str]) -> int:
    """Run the command until it ends, the parent is gone, or a signal comes; return the command's exit code."""
    ending: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        ending.append(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end)
    keeper = os.getpid()
    process = subprocess.Popen(command, start_new_session=True, preexec_fn=lambda: _end_with(keeper))
    try:
        while process.poll() is None and not ending and os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_SECONDS)
    finally:
        # What the command started and left behind goes as well.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def _end_with(keeper: int) -> None:
    """In the command's process, before it runs: ask the kernel for SIGTERM when the keeper ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != keeper:
            os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Keep the command of the command line."""
    parent, *command = sys.argv[1:]
    code = keep(int(parent), command)
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
