"""gc: under the lock, delete what nothing needs any more, telling the pointer first which versions go.

Promise: what a reader of a retained version needs stays; a rollback and a gc that meet never end in a published
version without its files, even if one of them was paused past its lease: the versions that go are written into
the pointer by a conditional write before the first deletion, and a rollback refuses those.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from embedding_assets.bucket.keys import INTERMEDIATE_PREFIX, delta_prefix, versions_prefix
from embedding_assets.errors import DamagedError, InputError, NotFoundError
from embedding_assets.executions.manifest import read_manifest
from embedding_assets.ledger.locks import MergeLock
from embedding_assets.rows.snapshot_directory import MANIFEST
from embedding_assets.upkeep.garbage import (
    DeletedObjects,
    by_delta,
    by_execution,
    kept_versions,
    not_whole_without,
    old_versions,
    published_deltas,
    unpublished,
)
from embedding_assets.upkeep.laid_versions import laid_versions, take_away
from embedding_assets.versions.manifest import Pointer, VersionManifest, whole_chain
from embedding_assets.versions.publish import amend
from embedding_assets.versions.publisher import PublishingTask
from embedding_assets.versions.tags import read_tags


@dataclass(frozen=True)
class Garbage:
    """What a gc deletes, or would. `kept` are the versions that stay readable, newest first.

    `shared` are laid versions of the shared root; their keys are paths below it.
    """

    kept: tuple[str, ...]
    versions: tuple[DeletedObjects, ...]
    unpublished: tuple[DeletedObjects, ...]
    intermediates: tuple[DeletedObjects, ...]
    deltas: tuple[DeletedObjects, ...]
    shared: tuple[DeletedObjects, ...] = ()

    @property
    def all(self) -> tuple[DeletedObjects, ...]:
        """Everything that goes from the bucket."""
        return self.versions + self.unpublished + self.intermediates + self.deltas


@dataclass(frozen=True)
class Collector(PublishingTask):
    """Sweeps one database."""

    retention: int
    min_age: timedelta

    def collect(self, purpose: str, *, dry_run: bool) -> Garbage:
        """Delete what may go and return it; with `dry_run` only return it.

        Raises InputError if nothing was ever published: then nobody can say what is garbage. Raises LockError
        or PreconditionError if another took over; what is deleted by then is reported by the next gc.
        """
        with self.publisher.publication_lock(purpose) as held:
            pointer = held.pointer
            if pointer is None:
                raise InputError(f"{self.database.name} has no published version: nothing is swept")
            versions = whole_chain(self.store, self.database, pointer.manifest, self.progress)
            garbage = self._plan(versions, held.lock.epoch)
            if not dry_run:
                self._sweep(garbage, versions, pointer, held.lock)
        return garbage

    def _plan(self, versions: list[VersionManifest], epoch: int) -> Garbage:
        now = datetime.now(UTC)
        tagged = {tag.version for tag in read_tags(self.store, self.database)}
        kept = kept_versions(versions, tagged, self.retention, self.min_age, now)
        listed = list(self.store.list(versions_prefix(self.database)))
        needed = set(versions[0].withdrawn) | self._live()
        deltas = by_delta(self.store.list(delta_prefix(self.database)), self.database, self.min_age, now)
        done = published_deltas(versions, needed) - self._named_by(needed, versions)
        executions = by_execution(self.store.list(INTERMEDIATE_PREFIX), self.min_age, now)
        return Garbage(
            kept=tuple(manifest.version for manifest in versions if manifest.version in kept),
            versions=tuple(old_versions(versions, kept, listed, self.database, self.min_age, now)),
            unpublished=tuple(unpublished(versions, listed, self.database, epoch, self.min_age, now)),
            intermediates=tuple(swept for swept in executions if self._is_over(swept.owner, needed)),
            deltas=tuple(swept for swept in deltas if swept.owner in done),
            shared=laid_versions(self.shared, kept, self.min_age, now, self.progress) if self.shared else (),
        )

    def _live(self) -> set[str]:
        """The batches whose deltas may still be merged, also those set aside or refused."""
        live = self.ledger.live(self.database)
        return {row.batch_id for rows in (live.ready_to_plan, live.set_aside, live.refused) for row in rows}

    @staticmethod
    def _named_by(needed: Collection[str], versions: list[VersionManifest]) -> set[str]:
        """Deltas of the `needed` batches: two batches of the same content may share one."""
        return {
            batch.delta_key
            for manifest in versions
            for batch in manifest.batches
            if batch.batch_id in needed and batch.delta_key is not None
        }

    def _is_over(self, execution_id: str, needed: Collection[str]) -> bool:
        """Whether an execution is of this database and none of its batches will be merged again."""
        try:
            manifest = read_manifest(self.store, execution_id)
        except NotFoundError:
            return False
        except DamagedError as error:
            self.progress(f"warning: the intermediates of execution {execution_id} stay: {error}")
            return False
        if manifest.database != self.database.name:
            return False
        return not any(batch.batch_id in needed for batch in manifest.batches)

    def _sweep(self, garbage: Garbage, versions: list[VersionManifest], pointer: Pointer, lock: MergeLock) -> None:
        going = not_whole_without(versions, garbage.versions)
        sweeping = tuple(sorted(going | set(pointer.manifest.sweeping)))
        if sweeping:
            pointer = amend(self.store, self.database, pointer, lock.epoch, sweeping)
        for swept in garbage.all:
            lock.check()
            self.progress(f"sweeping {swept.owner}: {len(swept.objects)} objects")
            for keys in _manifests_first(swept):
                self.store.delete(keys)
        if sweeping:
            lock.check()
            amend(self.store, self.database, pointer, lock.epoch, ())
        if self.shared is not None:
            for swept in garbage.shared:
                lock.check()
                self.progress(f"sweeping {swept.owner} of the shared root: {len(swept.objects)} files")
                take_away(self.shared, swept, self.progress)
            self.shared.sweep_leftovers()


def _manifests_first(swept: DeletedObjects) -> Iterator[list[str]]:
    """A snapshot directory without its manifest counts as unfinished: nobody takes half of it for whole."""
    keys = [entry.key for entry in swept.objects]
    for wanted in (True, False):
        chosen = [key for key in keys if key.endswith(f"/{MANIFEST}") == wanted]
        if chosen:
            yield chosen
