"""What gc takes from the shared file system root: laid versions that are not kept and not young.

Never the one that `latest` shows. A failure is reported and stops no gc: S3 is what counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from embedding_assets.bucket.store import StoredObject
from embedding_assets.errors import FolderLockedError
from embedding_assets.progress import Progress
from embedding_assets.upkeep.garbage import DeletedObjects
from embedding_assets.versions.shared_root import SharedVersions


def laid_versions(
    shared: SharedVersions, kept: Collection[str], min_age: timedelta, now: datetime, progress: Progress
) -> tuple[DeletedObjects, ...]:
    """Laid versions that may go; the keys are paths below the root."""
    try:
        shown = shared.link.shown()
        return tuple(
            DeletedObjects(version, tuple(_files(shared, directory)))
            for version in shared.laid()
            if version not in kept
            and version != shown
            and now - _changed(directory := shared.directory(version)) >= min_age
        )
    except OSError as error:
        progress(f"warning: nothing is swept from the shared root: {error}")
        return ()


def take_away(shared: SharedVersions, swept: DeletedObjects, progress: Progress) -> None:
    """Delete one laid version, unless `latest` shows it by now."""
    try:
        shared.remove(swept.owner)
    except (OSError, FolderLockedError) as error:
        progress(f"warning: version {swept.owner} stays on the shared root: {error}")


def _files(shared: SharedVersions, directory: Path) -> Iterator[StoredObject]:
    for path in sorted(directory.rglob("*")):
        with suppress(FileNotFoundError):
            if path.is_file():
                yield StoredObject(str(path.relative_to(shared.root)), path.stat().st_size, _changed(path))


def _changed(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)
