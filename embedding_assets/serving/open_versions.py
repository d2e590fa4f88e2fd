"""Versions of one database, open for many requests at once; a new one takes over without a failed request.

Promise: a request is answered by one whole version, which stays open until the request has ended, also if another
one is published meanwhile.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from embedding_assets.snapshot import Snapshot

OTHERS = 2
"""Versions that were asked for by name and stay open beside the published one."""

Open = Callable[[str | None], Snapshot]
"""Opens a private copy of the published version, or of the one that is named."""


class OpenVersion:
    """A snapshot, its users, and the lock under which it is searched: Chroma's collection serves one at a time."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.searching = threading.Lock()
        self.users = 0
        self.retired = False


class OpenVersions:
    """The published version of one database and the latest that were asked for by name."""

    def __init__(self, open_version: Open) -> None:
        self._open_version = open_version
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        self._published: OpenVersion | None = None
        self._named: OrderedDict[str, OpenVersion] = OrderedDict()

    @property
    def published(self) -> str | None:
        """The name of the version that answers requests; None before the first one is open."""
        with self._lock:
            return None if self._published is None else self._published.snapshot.version

    def take_up(self) -> None:
        """Open the published version, then let it take over.

        Raises NotFoundError if nothing is published, DamagedError if it cannot be verified; what is open stays.
        """
        opened = OpenVersion(self._open_version(None))
        with self._lock:
            before, self._published = self._published, opened
            self._retire(before)

    @contextmanager
    def borrowed(self, version: str | None = None) -> Iterator[OpenVersion]:
        """The published version, or the version or tag `version`, open until the block ends.

        Raises NotFoundError if there is none.
        """
        taken = self._take(version)
        try:
            yield taken
        finally:
            with self._lock:
                taken.users -= 1
                self._close_unused(taken)

    def close(self) -> None:
        """Close every version, each as soon as nobody uses it."""
        with self._lock:
            for version in (self._published, *self._named.values()):
                self._retire(version)
            self._published = None
            self._named.clear()

    def _take(self, version: str | None) -> OpenVersion:
        with self._lock:
            if (found := self._find(version)) is not None:
                return found
        with self._opening:
            with self._lock:
                if (found := self._find(version)) is not None:
                    return found
            opened = OpenVersion(self._open_version(version))
            with self._lock:
                opened.users += 1
                if version is None:
                    self._published = opened
                else:
                    self._named[version] = opened
                    while len(self._named) > OTHERS:
                        self._retire(self._named.popitem(last=False)[1])
            return opened

    def _find(self, version: str | None) -> OpenVersion | None:
        """An open one, with one user more; under the lock."""
        published = self._published
        if published is not None and version in (None, published.snapshot.version):
            published.users += 1
            return published
        if version is None or version not in self._named:
            return None
        self._named.move_to_end(version)
        self._named[version].users += 1
        return self._named[version]

    def _retire(self, version: OpenVersion | None) -> None:
        if version is not None:
            version.retired = True
            self._close_unused(version)

    @staticmethod
    def _close_unused(version: OpenVersion) -> None:
        if version.retired and version.users == 0:
            version.snapshot.close()
