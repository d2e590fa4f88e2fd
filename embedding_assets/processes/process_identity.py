"""Which process works on something, so that a later one on the same machine can see that it is gone."""

from __future__ import annotations

import os
import socket
from pathlib import Path

TAG = ".dagster/embedding_assets_process"
"""Tags of this prefix are not shown in the UI."""

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
START_TIME_FIELD = 19
"""Position of `starttime` in /proc/{pid}/stat after the command's closing bracket (proc(5), field 22)."""

PARTS = 5
PLACE = 3
"""Parts of an identity, and how many of them say where the process runs."""


def own_identity() -> str | None:
    """This process: host, boot, process namespace, id, start time. None if the system has no /proc."""
    return _identity(os.getpid())


def certainly_gone(identity: str) -> bool:
    """Whether the process ran on this machine since it was started, and runs no more."""
    parts, mine = identity.split("|"), (own_identity() or "").split("|")
    if len(parts) != PARTS or parts[:PLACE] != mine[:PLACE]:
        return False
    return _identity(int(parts[PLACE])) != identity


def _identity(pid: int) -> str | None:
    try:
        boot = BOOT_ID.read_text().strip()
        namespace = os.readlink("/proc/self/ns/pid")
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    if fields[0] == "Z":
        return None
    return "|".join((socket.gethostname(), boot, namespace, str(pid), fields[START_TIME_FIELD]))
