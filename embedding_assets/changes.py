"""`changes_since`: for owners of records, what became of each since a version that they know.

Needs the base alone: no Dagster, no OpenAI.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from embedding_assets.bucket.store import Store
from embedding_assets.databases import Database
from embedding_assets.errors import InputError, SettingsError
from embedding_assets.snapshot import BUCKET_VARIABLE, database_called
from embedding_assets.versions.changes_file import Change, RecordChange, read_changes
from embedding_assets.versions.manifest import VersionManifest, chain
from embedding_assets.versions.reader import find_version

__all__ = ["Change", "ChangesSince", "RecordChange", "changes_since"]


class ChangesSince:
    """The changes from one version to the published one; `version` is the one to ask from the next time."""

    def __init__(self, version: str, changes: dict[str, RecordChange]) -> None:
        self.version = version
        self._changes = changes

    def __iter__(self) -> Iterator[RecordChange]:
        return iter(self._changes.values())

    def __len__(self) -> int:
        return len(self._changes)


def changes_since(database: str | Database, version: str | None, *, bucket: str | None = None) -> ChangesSince:
    """The last change of each record in all versions after `version`, up to the published one.

    None for `version` means from the first version on. A rollback is a version too: what it took out is `removed`.
    `bucket` is by default the one in CHROMADB_BUCKET.

    Raises InputError if `version` is not one that the published one was built on, NotFoundError if nothing is
    published or a version in between does not say what it changed, DamagedVersionError for a damaged file.
    """
    bucket = bucket or os.environ.get(BUCKET_VARIABLE)
    if not bucket:
        raise SettingsError(f"no bucket: give `bucket`, or set {BUCKET_VARIABLE}")
    known = database if isinstance(database, Database) else database_called(database)
    store = Store(bucket)
    published = find_version(store, known)
    later = _after(version, published, chain(store, known, published))
    changes: dict[str, RecordChange] = {}
    for manifest in reversed(later):
        for change in read_changes(store, manifest):
            changes.pop(change.id, None)
            changes[change.id] = change
    return ChangesSince(published.version, changes)


def _after(
    version: str | None, published: VersionManifest, versions: Iterator[VersionManifest]
) -> list[VersionManifest]:
    """The versions after `version`, newest first."""
    later: list[VersionManifest] = []
    for manifest in versions:
        if manifest.version == version:
            return later
        later.append(manifest)
    if version is not None:
        raise InputError(f"{published.database} was not built on a version {version!r}")
    return later
