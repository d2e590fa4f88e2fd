"""The published version's files on the local disk: what the next merge builds on need not be downloaded.

    {root}/{bucket}/{database}/{version}/…

A cache and nothing else: it may be deleted at any time, what cannot be written is left out, and a file in it is
used only if it has the size and sha256 that the version's manifest says.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from embedding_assets.databases import Database
from embedding_assets.progress import Progress
from embedding_assets.versions.manifest import VersionManifest, epoch_of

LEFTOVER_SECONDS = 86400.0
"""Age from which a temporary name is what a crash left."""

FREE_FACTOR = 2
"""A version is kept where the disk has so many times its size free."""


@dataclass(frozen=True)
class BaseCache:
    """The newest version of one database that was built here."""

    root: Path
    bucket: str
    database: Database

    @property
    def _folder(self) -> Path:
        return self.root / self.bucket / self.database.name

    def directory(self, version: str) -> Path:
        """Where the files of a version are, if they are here."""
        return self._folder / version

    def keep(self, manifest: VersionManifest, built: Path, progress: Progress) -> None:
        """Take over the files in `built`, which are given away, as those of `manifest`; forget older versions.

        If only the record index was built the rest is that of the version before. A failure is reported, never
        raised: the version is published.
        """
        try:
            self._keep(manifest, built)
        except OSError as error:
            progress(f"version {manifest.version} is not kept on the local disk: {error}")

    def _keep(self, manifest: VersionManifest, built: Path) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self._folder).free < FREE_FACTOR * manifest.size:
            return
        temporary = self._folder / f".{uuid.uuid4().hex}"
        before = self.directory(manifest.parent) if manifest.parent is not None else None
        try:
            shutil.move(built, temporary)
            for file in manifest.files:
                if before is not None and not (temporary / file.path).exists():
                    (temporary / file.path).parent.mkdir(parents=True, exist_ok=True)
                    os.link(before / file.path, temporary / file.path)
            os.rename(temporary, self.directory(manifest.version))
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self._forget_but(manifest.version)

    def _forget_but(self, version: str) -> None:
        for path in self._folder.iterdir():
            old = time.time() - path.stat().st_mtime > LEFTOVER_SECONDS
            if (epoch_of(path.name) is not None and path.name != version) or (path.name.startswith(".") and old):
                shutil.rmtree(path, ignore_errors=True)
