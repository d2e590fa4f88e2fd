"""How many bytes of downloads lie in the temporary directory at once.

Downloads run side by side and are parsed one at a time, so without a bound all of an execution's output would lie
there: a full batch is 1 GB.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

USUAL_BYTES = 4 * 2**30
"""Bytes of downloads in the temporary directory at once if nobody says otherwise."""
UNKNOWN_BYTES = 2**30
"""What a file counts as if nobody says how large it is: a full batch."""
WITH_DELTA = 1.5
"""A batch's records and its delta lie beside its output: together at most about half as many bytes."""


class DiskBudget:
    """Shares `most` bytes between batches; safe to use from several threads. A batch alone may be of any size."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._used = 0
        self._freed = threading.Condition()

    @property
    def used(self) -> int:
        """Bytes that are reserved now."""
        with self._freed:
            return self._used

    @contextmanager
    def share(self) -> Iterator[DiskShare]:
        """One batch's part, for the block in which its files are there."""
        share = DiskShare(self)
        try:
            yield share
        finally:
            self._release(share.reserved)

    def reserve(self, size: int, *, wait: bool) -> None:
        """Count `size` bytes; with `wait`, not before they fit or nothing else is counted."""
        with self._freed:
            while wait and self._used and self._used + size > self._most:
                self._freed.wait()
            self._used += size
            if size < 0:
                self._freed.notify_all()

    def _release(self, size: int) -> None:
        with self._freed:
            self._used -= size
            self._freed.notify_all()


class DiskShare:
    """What one batch has reserved."""

    def __init__(self, budget: DiskBudget) -> None:
        self._budget = budget
        self.reserved = 0

    def reserve(self, size: int | None) -> None:
        """Reserve room for a file of `size` bytes, None if its size is not known.

        Only the first file of a batch waits: if those that hold something waited too, all could wait for ever.
        """
        wanted = int((UNKNOWN_BYTES if size is None else size) * WITH_DELTA)
        self._budget.reserve(wanted, wait=self.reserved == 0)
        self.reserved += wanted

    def correct(self, guessed: int, size: int | None) -> None:
        """The file that `guessed` bytes were reserved for has `size`; nobody waits, since it is on its way."""
        if size is not None:
            change = int(size * WITH_DELTA) - int(guessed * WITH_DELTA)
            self._budget.reserve(change, wait=False)
            self.reserved += change
