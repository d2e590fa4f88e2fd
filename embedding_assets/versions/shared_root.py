"""Published versions of one database on a shared file system: whole directories, and the link `latest`.

    {root}/{database}/snapshot/versions/{version}/…   every file of the version, its manifest.json written last
    {root}/{database}/snapshot/latest                 a relative link to the published version

Promise: a directory under a version's name was laid whole: built under another name, every file checked,
written through to the disk, then renamed. What is laid is never repaired, for a reader may have it open; readers
open it with Chroma, which changes its files, so nothing in it is taken for right without its sha256.

S3 stays the commit point: what cannot be done here is reported, and done by a later `publish`.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from embedding_assets.bucket.keys import versions_prefix
from embedding_assets.bucket.store import Store
from embedding_assets.databases import Database
from embedding_assets.errors import EmbeddingAssetsError, SharedRootError
from embedding_assets.processes.file_lock import LOCK_FILE, alone
from embedding_assets.progress import Progress
from embedding_assets.rows.snapshot_directory import MANIFEST
from embedding_assets.versions.gather import Gathered, gather
from embedding_assets.versions.latest_link import LatestLink
from embedding_assets.versions.manifest import VersionManifest, epoch_of

LEFTOVER_SECONDS = 86400.0
"""Age from which a temporary name is what a crash left: no laying takes a day."""


@dataclass(frozen=True)
class SharedVersions:
    """The versions of `database` below `root`, which must be there."""

    store: Store
    database: Database
    root: Path

    @property
    def versions(self) -> Path:
        """The folder of all laid versions."""
        return self.root / versions_prefix(self.database)

    @property
    def link(self) -> LatestLink:
        """The link to the published version."""
        return LatestLink(self.versions.parent)

    def directory(self, version: str) -> Path:
        """Where a version is laid, or would be."""
        return self.versions / version

    def is_laid(self, version: str) -> bool:
        """Whether the version is there; its files may have been changed since by those who opened them."""
        return (self.directory(version) / MANIFEST).is_file()

    def laid(self) -> list[str]:
        """All versions that are there, by epoch."""
        with suppress(FileNotFoundError):
            names = [name for name in os.listdir(self.versions) if epoch_of(name) is not None]
            return sorted(names, key=lambda name: (epoch_of(name) or 0, name))
        return []

    def publish(self, manifest: VersionManifest, progress: Progress, built: Path | None = None) -> None:
        """Lay a version that is committed and let `latest` show it; a failure is reported, never raised.

        Files are taken from `built` and from the versions before, where they are right, the rest from S3.
        """
        with self._failures_reported(manifest, progress):
            self._lay(manifest, progress, built)
            with alone(self.versions.parent):
                if not self.is_laid(manifest.version):
                    raise SharedRootError(f"version {manifest.version} was removed meanwhile")
                if not self.link.move(manifest.version):
                    raise SharedRootError(f"it shows version {self.link.shown()}, which is not older")
                _sync(self.versions.parent)

    def ensure(self, published: VersionManifest, progress: Progress) -> None:
        """Like `publish`, where `latest` does not show the version; where it does, a look at the link is all."""
        with self._failures_reported(published, progress):
            shown = self.link.shown()
            if shown == published.version:
                return
            if shown is not None and (epoch_of(shown) or 0) >= published.epoch:
                raise SharedRootError(f"it shows version {shown}, which is not older")
            self.publish(published, progress)

    def remove(self, version: str) -> bool:
        """Take a version away, unless it is the one that `latest` shows; say whether it is gone."""
        aside = self._temporary(version)
        with alone(self.versions.parent):
            if self.link.shown() == version:
                return False
            with suppress(FileNotFoundError):
                os.rename(self.directory(version), aside)
        shutil.rmtree(aside, ignore_errors=True)
        return True

    def sweep_leftovers(self) -> None:
        """Delete what layings that crashed left behind, where it is old; what cannot be deleted stays."""
        for path in self._leftovers():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()

    @contextmanager
    def _failures_reported(self, manifest: VersionManifest, progress: Progress) -> Iterator[None]:
        try:
            yield
        except (OSError, EmbeddingAssetsError) as error:
            progress(
                f"warning: version {manifest.version} of {self.database.name} is published, but the shared root "
                f"does not show it: {error}"
            )

    def _leftovers(self) -> Iterator[Path]:
        for folder in (self.versions, self.versions.parent):
            for path in folder.glob(".*"):
                with suppress(OSError):
                    if path.name != LOCK_FILE and time.time() - path.lstat().st_mtime > LEFTOVER_SECONDS:
                        yield path

    def _lay(self, manifest: VersionManifest, progress: Progress, built: Path | None) -> None:
        version = manifest.version
        if epoch_of(version) is None:
            raise SharedRootError(f"{version!r} is not a version's name")
        if self.is_laid(version):
            return
        self._make_folders()
        self.sweep_leftovers()
        free = shutil.disk_usage(self.versions).free
        if free < manifest.size:
            raise SharedRootError(f"{self.root} has {free:,} bytes free, the version takes {manifest.size:,}")
        before = [self.directory(one) for one in (manifest.rolled_back_to, manifest.parent) if one is not None]
        temporary = self._temporary(version)
        try:
            gathered = self._fill(temporary, manifest, [built, *before] if built is not None else before)
            with alone(self.versions.parent):
                self._rename(temporary, version)
                _sync(self.versions)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        progress(
            f"laid version {version} on the shared root: {gathered.copied:,} bytes were at hand, "
            f"{gathered.downloaded:,} came from S3"
        )

    def _fill(self, directory: Path, manifest: VersionManifest, sources: Sequence[Path]) -> Gathered:
        """All files and then the manifest, each of them on the disk and not only on its way there."""
        os.mkdir(directory)
        gathered = gather(self.store, manifest.files, directory, sources)
        for path in sorted(directory.rglob("*"), reverse=True):
            _sync(path)
        (directory / MANIFEST).write_text(manifest.model_dump_json(indent=2), encoding="utf-8")
        _sync(directory / MANIFEST)
        _sync(directory)
        return gathered

    def _rename(self, temporary: Path, version: str) -> None:
        """Give what was laid its name, unless another process was faster; what is no version goes aside."""
        target = self.directory(version)
        try:
            os.rename(temporary, target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            if not self.is_laid(version):
                os.rename(target, self._temporary(version))
                os.rename(temporary, target)

    def _make_folders(self) -> None:
        """Below the root, never the root itself: where its file system is not mounted there is nothing to make."""
        for folder in (self.versions.parent.parent, self.versions.parent, self.versions):
            with suppress(FileExistsError):
                os.mkdir(folder)

    def _temporary(self, version: str) -> Path:
        return self.versions / f".{version}-{uuid.uuid4().hex}"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
