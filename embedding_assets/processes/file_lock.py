"""One process at a time in a folder, also on a file system that several machines mount."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedding_assets.errors import FolderLockedError

LOCK_FILE = ".lock"
WAIT_SECONDS = 10.0
PAUSE_SECONDS = 0.02


@contextmanager
def alone(folder: Path, seconds: float | None = None) -> Iterator[None]:
    """Be the only one inside for `folder`, also among machines that mount it; a process that dies lets go.

    The lock file stays: whoever deleted it would have to know that nobody waits for it. NFS, and so EFS, takes
    `flock` for a lock of the whole file, for which it must be open for writing. Raises FolderLockedError if
    another stays inside for `seconds` (None: WAIT_SECONDS).
    """
    until = time.monotonic() + (WAIT_SECONDS if seconds is None else seconds)
    with (folder / LOCK_FILE).open("ab") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > until:
                    raise FolderLockedError(f"{folder} is locked by another process") from error
                time.sleep(PAUSE_SECONDS)
        yield
