"""The link `latest` of one database on the shared root: a relative one, `versions/{version}`.

Promise: whoever follows it finds a version that is laid whole; it is replaced in one step, and only by a version
of a greater epoch than the one that it shows. One that is broken, or was not made here, is replaced by any.
"""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from embedding_assets.rows.snapshot_directory import MANIFEST
from embedding_assets.versions.manifest import epoch_of

LINK = "latest"
VERSIONS = "versions"


@dataclass(frozen=True)
class LatestLink:
    """The link in `folder`, beside the folder `versions`."""

    folder: Path

    def shown(self) -> str | None:
        """The version that it shows; None if there is no link, or a broken or foreign one."""
        try:
            target = os.readlink(self.folder / LINK)
        except OSError:
            return None
        version = target.removeprefix(f"{VERSIONS}/")
        foreign = target != f"{VERSIONS}/{version}" or epoch_of(version) is None
        if foreign or not (self.folder / VERSIONS / version / MANIFEST).is_file():
            return None
        return version

    def move(self, version: str) -> bool:
        """Show `version`, unless one of its epoch or a greater one is shown; say whether it is shown then.

        Only for one process at a time: two could each find the same link, and the older one move it last.
        """
        shown = self.shown()
        if shown is not None and (epoch_of(shown) or 0) >= (epoch_of(version) or 0):
            return shown == version
        temporary = self.folder / f".{LINK}-{uuid.uuid4().hex}"
        os.symlink(f"{VERSIONS}/{version}", temporary)
        try:
            os.replace(temporary, self.folder / LINK)
        except OSError:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        return True
