"""One directory for all temporary files of a command, deleted when it ends, however it ends.

Each `TemporaryDirectory` deletes itself, but a signal may come while it does, and libraries make files of their
own.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from embedding_assets.processes.interruption import uninterrupted

VARIABLE = "TMPDIR"


@contextmanager
def own_temporary_directory() -> Iterator[None]:
    """While the block runs, this process and those that it starts have their temporary files in one directory.

    Without a place for temporary files nothing changes: what needs one fails then, and what does not runs.
    """
    with uninterrupted():
        try:
            directory = tempfile.mkdtemp(prefix="embedding-assets-")
        except OSError:
            directory = None
        before = os.environ.get(VARIABLE), tempfile.tempdir
        if directory is not None:
            os.environ[VARIABLE] = tempfile.tempdir = directory
    try:
        yield
    finally:
        with uninterrupted():
            variable, tempfile.tempdir = before
            if variable is None:
                os.environ.pop(VARIABLE, None)
            else:
                os.environ[VARIABLE] = variable
            if directory is not None:
                shutil.rmtree(directory, ignore_errors=True)
