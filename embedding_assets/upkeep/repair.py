"""Repair: the pointer was lost, and the newest committed version becomes the pointer again.

Promise: what is put back was published before, holds every version that the table knows in its history, and has
all of its files. It is written under the lock, over exactly the object that was seen (or over none), with an
epoch that is greater than any before: a former holder of the lock cannot publish on what was there.

A manifest alone does not prove a commit, since it is written before the pointer. A version counts as committed
if the table names it, if it has a receipt, or if another version was built on it. A newer manifest without such a
proof is left alone: its batches are still live, so the next execution publishes them again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from embedding_assets.bucket.keys import pointer_key, version_prefix, versions_prefix
from embedding_assets.bucket.store import Fetched
from embedding_assets.errors import (
    DamagedError,
    DamagedVersionError,
    NotFoundError,
    PreconditionError,
    TransientError,
)
from embedding_assets.ledger.locks import MergeLock
from embedding_assets.rows.snapshot_directory import MANIFEST
from embedding_assets.upkeep.inspection import missing_files
from embedding_assets.versions.manifest import (
    Pointer,
    VersionManifest,
    epoch_of,
    parse_version,
    read_version,
)
from embedding_assets.versions.publish import fence, put_back
from embedding_assets.versions.publisher import PublishingTask
from embedding_assets.versions.receipts import find_receipt, newest_receipt
from embedding_assets.versions.witnesses import not_in_chain, read_witnesses

TRIES = 5
"""How often a repair looks again if the pointer was changed meanwhile."""


@dataclass(frozen=True)
class Repaired:
    """What a repair found and did, or would do.

    `version` is the published version afterwards, `before` the one that the pointer had (None without a pointer
    that can be read), `missing` the version that was not in its history; None if nothing had to be repaired.
    """

    version: str | None
    before: str | None
    missing: str | None
    dry_run: bool

    @property
    def repaired(self) -> bool:
        """Whether the pointer was written, or would be."""
        return self.missing is not None


@dataclass(frozen=True)
class _Found:
    """The pointer object, and what is in it (None if it cannot be read); what is to be put back, if anything."""

    there: Fetched | None
    pointer: Pointer | None
    missing: str | None = None
    target: VersionManifest | None = None


@dataclass(frozen=True)
class Repair(PublishingTask):
    """Puts the pointer of one database back."""

    def run(self, purpose: str, *, dry_run: bool) -> Repaired:
        """Put back what was lost; with `dry_run` only say what would be, without the lock and without a write.

        `purpose` is the lock's `execution_id`. Raises DamagedVersionError if what was published cannot be put
        back: its manifest or a file is missing, or nothing proves that it was published.
        """
        if dry_run:
            found = self._look()
            self._verify(found)
            return self._result(found, dry_run=True)
        with self._lock(purpose) as lock:
            for _ in range(TRIES):
                found = self._look()
                self._verify(found)
                if found.target is None:
                    return self._result(found)
                sweeping = set(found.target.sweeping) | set(
                    found.pointer.manifest.sweeping if found.pointer else ()
                )
                target = found.target.model_copy(update={"sweeping": tuple(sorted(sweeping))})
                lock.check()
                try:
                    put_back(self.store, self.database, target, lock.epoch, found.there)
                except PreconditionError as error:
                    self.progress(f"{error}; looking again")
                    continue
                self.publisher.follow_up(target, lock)
                return self._result(found)
        raise TransientError(f"the pointer of {self.database.name} was changed {TRIES} times meanwhile")

    @contextmanager
    def _lock(self, purpose: str) -> Iterator[MergeLock]:
        """The lock, with an epoch above those of all versions in the bucket: the table may be an older one."""

        def floor() -> int:
            _, pointer = self._pointer()
            return max([pointer.epoch if pointer else 0, *(epoch_of(name) or 0 for name in self._names())])

        with self.publisher.merge_lock(purpose, floor) as lock:
            _, pointer = self._pointer()
            if lock.taken_over and pointer is not None:
                fence(self.store, self.database, pointer, lock.epoch)
            yield lock

    def _pointer(self) -> tuple[Fetched | None, Pointer | None]:
        there = self.store.find(pointer_key(self.database))
        if there is None:
            return None, None
        try:
            manifest = parse_version(self.store, self.database, pointer_key(self.database), there.data)
        except DamagedVersionError as error:
            self.progress(f"warning: {error}")
            return there, None
        return there, Pointer(manifest, there.etag)

    def _look(self) -> _Found:
        known = read_witnesses(self.ledger, self.database).versions
        there, pointer = self._pointer()
        if not known:
            known = [one for one in [newest_receipt(self.store, self.database)] if one is not None]
        if pointer is not None:
            missing = not_in_chain(self.store, self.database, known, pointer.manifest) if known else None
            if missing is None:
                return _Found(there, pointer)
        if not known:
            known = self._built_upon()
        if not known and there is None:
            return _Found(None, None)
        if not known:
            raise DamagedVersionError(
                f"{self.store.uri(pointer_key(self.database))} cannot be read, and nothing in the table or the "
                "bucket says what was published: restore that object from a backup"
            )
        target = self._newest(known)
        return _Found(there, pointer, known[0] if pointer is None else missing, target)

    def _newest(self, known: Sequence[str]) -> VersionManifest:
        """The newest committed version whose history holds all `known` ones."""
        newest = self._published(known[0])
        newer = self._manifests(newest.epoch)
        parents = {manifest.parent for manifest in newer.values()}
        for manifest in sorted(newer.values(), key=lambda one: one.epoch, reverse=True):
            if self._leads_to(newest, manifest, newer) and self._is_committed(manifest, parents):
                break
        else:
            manifest = newest
        missing = not_in_chain(self.store, self.database, known, manifest)
        if missing is not None:
            raise DamagedVersionError(
                f"versions {known[0]} and {missing} of {self.database.name} were both published, and neither is "
                "in the history of the other: copy the manifest.json of the one that counts over the pointer"
            )
        return manifest

    def _published(self, version: str) -> VersionManifest:
        try:
            return read_version(self.store, self.database, version)
        except NotFoundError as error:
            where = self.store.uri(version_prefix(self.database, version) + MANIFEST)
            name = self.database.name
            raise DamagedVersionError(
                f"version {version} of {name} was published, and {where} is missing: restore it first; to begin "
                f"again with an empty database instead, delete the items MARKED#{name} and LOCK#{name} of the "
                f"table {self.ledger.table}"
            ) from error

    def _is_committed(self, manifest: VersionManifest, parents: set[str | None]) -> bool:
        if manifest.version in parents:
            return True
        receipt = find_receipt(self.store, self.database, manifest.execution_id, manifest.inputs_digest)
        return receipt == manifest.version

    @staticmethod
    def _leads_to(older: VersionManifest, manifest: VersionManifest, newer: dict[str, VersionManifest]) -> bool:
        """Whether `older` is an ancestor of `manifest`, by way of the `newer` ones; ends also in a circle."""
        for _ in range(len(newer)):
            if manifest.parent == older.version:
                return True
            parent = newer.get(manifest.parent or "")
            if parent is None:
                return False
            manifest = parent
        return False

    def _names(self) -> list[str]:
        """All versions that have a manifest, committed or not."""
        start, end = len(versions_prefix(self.database)), f"/{MANIFEST}"
        keys = (entry.key[start:] for entry in self.store.list(versions_prefix(self.database)))
        return [key.removesuffix(end) for key in keys if key.endswith(end) and key.count("/") == 1]

    def _manifests(self, above: int) -> dict[str, VersionManifest]:
        """The manifests that can be read, of epochs above the given one."""
        found = {}
        for name in self._names():
            if (epoch_of(name) or 0) > above:
                try:
                    found[name] = read_version(self.store, self.database, name)
                except (DamagedError, NotFoundError) as error:
                    self.progress(f"warning: {error}")
        return found

    def _built_upon(self) -> list[str]:
        """The newest version that another one was built on, if there is one."""
        versions = self._manifests(-1)
        parents = {manifest.parent for manifest in versions.values()}
        found = [version for version in versions if version in parents]
        return sorted(found, key=lambda version: versions[version].epoch)[-1:]

    def _verify(self, found: _Found) -> None:
        if found.target is None:
            return
        for line in missing_files(self.store, self.database, found.target):
            raise DamagedVersionError(
                f"version {found.target.version} of {self.database.name} cannot be put back: {line}"
            )

    @staticmethod
    def _result(found: _Found, *, dry_run: bool = False) -> Repaired:
        before = found.pointer.manifest.version if found.pointer else None
        version = found.target.version if found.target else before
        return Repaired(version, before, found.missing, dry_run)
