"""Rollback: an older version's content, published again as a new version. History is never rewritten.

Promise: what is published afterwards has the old version's content digest; the batches that are out again are
listed as `withdrawn`, stay as they are marked, and come back only by `reprocess`.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from embedding_assets.errors import DamagedVersionError, InputError, PreconditionError, TransientError
from embedding_assets.executions.guard import configured_otherwise
from embedding_assets.ledger.locks import MergeLock
from embedding_assets.upkeep.inspection import problems_of
from embedding_assets.versions.changes_file import changed_records, write_changes
from embedding_assets.versions.history import accounted, before, withdrawn
from embedding_assets.versions.manifest import Pointer, VersionManifest, new_version, whole_chain
from embedding_assets.versions.next_version import Account, Difference, Withdrawn, content_of, next_manifest
from embedding_assets.versions.publisher import PublishingTask
from embedding_assets.versions.reader import published_index
from embedding_assets.versions.tags import resolve

TRIES = 5
"""How often a rollback begins again where another version was published meanwhile."""


@dataclass(frozen=True)
class RollbackPlan:
    """What a rollback would publish: the content of `target`; `withdrawn` batches would be out."""

    current: VersionManifest
    target: VersionManifest
    withdrawn: tuple[str, ...]


@dataclass(frozen=True)
class Rollback(PublishingTask):
    """Publishes older versions of one database again."""

    def plan(self, name: str | None) -> RollbackPlan:
        """What `to` would do now. Nothing is locked or written, and the files are not checked. Raises as `to`."""
        current, target, versions = self._chosen(name, self._there(self.publisher.trusted_pointer()))
        return RollbackPlan(current, target, withdrawn(versions, target))

    def to(self, name: str | None, purpose: str) -> VersionManifest:
        """Publish the content of the version (or tag) `name`, by default of the one before the published one.

        `purpose` stands in the lock and in the new manifest where a merge has its execution's id. Raises
        InputError if `name` is not to be rolled back to, DamagedVersionError if its files are not whole.
        """
        with self.publisher.publication_lock(purpose) as held:
            pointer = held.pointer
            for _ in range(TRIES):
                try:
                    return self._publish(name, purpose, pointer, held.lock)
                except PreconditionError as error:
                    self.progress(f"{error}; rolling back from that one")
                    pointer = self.publisher.trusted_pointer()
        raise TransientError(f"another version of {self.database.name} was published {TRIES} times meanwhile")

    def _publish(
        self, name: str | None, purpose: str, pointer: Pointer | None, lock: MergeLock
    ) -> VersionManifest:
        pointer = self._there(pointer)
        current, target, versions = self._chosen(name, pointer)
        with tempfile.TemporaryDirectory(prefix="embedding-assets-rollback-") as folder:
            wrong = problems_of(self.store, target, Path(folder), everything=False)
        if wrong:
            raise DamagedVersionError(f"version {target.version} cannot be published again: {wrong[0]}")
        lock.check()
        version = new_version(lock.epoch)
        out, last = withdrawn(versions, target), accounted(versions)
        indexes = [published_index(self.store, one) for one in (current, target)]
        account = Account(
            difference=Difference(unchanged=target.total_embeddings),
            withdrawn=Withdrawn(out, {batch_id: last[batch_id].generation for batch_id in out}),
            rolled_back_to=target.version,
            changes=write_changes(self.store, self.database, version, changed_records(*indexes)),
        )
        manifest = next_manifest(self.database, current, version, lock.epoch, purpose, content_of(target), account)
        self.publisher.publish(manifest, pointer, lock)
        return manifest

    def _there(self, pointer: Pointer | None) -> Pointer:
        if pointer is None:
            raise InputError(f"{self.database.name} has no published version to roll back from")
        return pointer

    def _chosen(
        self, name: str | None, pointer: Pointer
    ) -> tuple[VersionManifest, VersionManifest, list[VersionManifest]]:
        """The published version, the one to roll back to, and the whole chain."""
        current = pointer.manifest
        versions = whole_chain(self.store, self.database, current, self.progress)
        target = self._target(name, current, versions)
        self._refuse_unfit(target, current)
        return current, target, versions

    def _target(
        self, name: str | None, current: VersionManifest, versions: list[VersionManifest]
    ) -> VersionManifest:
        if name is None:
            target = before(versions, current)
            if target is None:
                raise InputError(f"version {current.version} of {self.database.name} has none before it")
            return target
        version = resolve(self.store, self.database, name)
        for manifest in versions:
            if manifest.version == version:
                return manifest
        raise InputError(f"{self.database.name} never published a version {version!r}")

    def _refuse_unfit(self, target: VersionManifest, current: VersionManifest) -> None:
        if current.version == target.version:
            raise InputError(f"version {target.version} of {self.database.name} is the published one")
        if target.version in current.sweeping:
            raise InputError(f"version {target.version} of {self.database.name} is being swept by a gc")
        otherwise = configured_otherwise(self.database, target)
        if otherwise is not None:
            raise InputError(otherwise)
