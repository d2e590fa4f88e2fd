"""Saving what a local server holds: once a second while it serves, and at its end."""

from __future__ import annotations

import logging
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from embedding_assets.errors import InputError

logger = logging.getLogger(__name__)

SAVE_SECONDS = 1.0
"""A server that is killed loses what came in this time."""
REST = 10
"""Saving waits this many times as long as it took."""


@contextmanager
def saved_regularly(save: Callable[[], None]) -> Iterator[None]:
    """Call `save` again and again while the block lasts, and once more at its end, also a bad one."""
    ended = threading.Event()

    def repeat() -> None:
        pause = SAVE_SECONDS
        while not ended.wait(pause):
            started = time.monotonic()
            try:
                save()
            except OSError as error:
                logger.error("what this server holds is not saved: %s", error)
            pause = max(SAVE_SECONDS, REST * (time.monotonic() - started))

    thread = threading.Thread(target=repeat, name="save", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        save()


def write_pickle(path: Path, value: object) -> None:
    """Replace the file at `path`: a reader, also after a kill, finds the old or the new value whole."""
    write_bytes(path, pickle.dumps(value))


def write_bytes(path: Path, data: bytes) -> None:
    """As `write_pickle`, for bytes."""
    partial = path.with_name(f".{path.name}")
    partial.write_bytes(data)
    partial.replace(path)


def read_pickle(path: Path) -> Any:
    """The value at `path`, None if there is no file. The file must be this user's own: loading it runs code.

    Raises InputError, in one line, if the file cannot be read, for example because another release wrote it.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return pickle.loads(data)
    except Exception as error:  # the boundary: a pickle of another release raises whatever it likes
        raise InputError(f"{path} cannot be read ({type(error).__name__}: {error}); use another folder") from error
