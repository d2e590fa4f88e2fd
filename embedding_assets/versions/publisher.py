"""The right to publish, and publishing by it: the database's lock, and the pointer as it is under it.

Promise: whoever holds the publication lock is the only one who can publish. A former holder that had not released
the lock may still be alive; the fence makes its conditional write on the pointer fail, whatever it believes. And
nobody holds it on a pointer that is behind what the table knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from embedding_assets.bucket.store import Store
from embedding_assets.databases import Database
from embedding_assets.errors import EmbeddingAssetsError
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.ledger.locks import MergeLock
from embedding_assets.progress import Progress
from embedding_assets.versions.manifest import Pointer, VersionManifest, read_pointer
from embedding_assets.versions.publish import commit, fence
from embedding_assets.versions.receipts import write_receipt
from embedding_assets.versions.shared_root import SharedVersions
from embedding_assets.versions.witnesses import read_witnesses, require, trusted_pointer


@dataclass(frozen=True)
class PublicationLock:
    """What the holder works with. `pointer` is None if nothing was ever published."""

    lock: MergeLock
    pointer: Pointer | None


@dataclass(frozen=True)
class Publisher:
    """Publishes versions of one database: what merges, rollback, rebuild, repair and gc have in common.

    `lease_seconds` is the lease of the lock; `shared` are the versions on the shared file system, if there is one.
    """

    store: Store
    ledger: Ledger
    database: Database
    lease_seconds: float
    progress: Progress = lambda message: None
    shared: SharedVersions | None = None

    def trusted_pointer(self) -> Pointer | None:
        """The pointer; None if nothing was ever published. LostPointerError if the table knows better."""
        return trusted_pointer(self.store, self.ledger, self.database)

    @contextmanager
    def publication_lock(self, purpose: str) -> Iterator[PublicationLock]:
        """Hold the lock of the database; `purpose` (an execution's id) is shown to those who wait.

        Raises LockError if the lock is unavailable, or if a greater epoch has written the pointer;
        LostPointerError if the pointer is gone, or behind what the table knows.
        """

        def floor() -> int:
            pointer = read_pointer(self.store, self.database)
            return pointer.epoch if pointer else 0

        with self.merge_lock(purpose, floor) as lock:
            witnesses = read_witnesses(self.ledger, self.database)
            pointer = read_pointer(self.store, self.database)
            if lock.taken_over and pointer is not None:
                pointer = fence(self.store, self.database, pointer, lock.epoch)
            require(self.store, self.database, witnesses, pointer)
            if pointer is not None:
                self.note_published(pointer.manifest, lock, known=witnesses.published)
            yield PublicationLock(lock, pointer)

    def merge_lock(self, purpose: str, floor: Callable[[], int]) -> MergeLock:
        """The lock alone, not taken yet; `floor` returns the greatest epoch that was ever used."""
        return MergeLock(
            self.ledger.client,
            self.ledger.table,
            self.database.name,
            execution_id=purpose,
            lease_seconds=self.lease_seconds,
            renewing=self.ledger.renewing_client(self.lease_seconds),
            epoch_floor=floor,
            on_wait=self.progress,
        )

    def publish(
        self, manifest: VersionManifest, base: Pointer | None, lock: MergeLock, directory: Path | None = None
    ) -> None:
        """Commit `manifest`, built on `base`, and copy it to the shared root, from `directory` if it is given.

        Raises PreconditionError, LockError or LostPointerError as `commit` does; then nothing is published.
        """
        commit(self.store, self.database, manifest, base)
        self.progress(f"published version {manifest.version}: {manifest.total_embeddings} embeddings")
        self.follow_up(manifest, lock, directory)

    def follow_up(self, manifest: VersionManifest, lock: MergeLock, directory: Path | None = None) -> None:
        """After the pointer was written: note it in the table and in the bucket, copy it to the shared root."""
        self.note_published(manifest, lock)
        if self.shared is not None:
            self.shared.publish(manifest, self.progress, directory)

    def note_published(self, manifest: VersionManifest, lock: MergeLock, known: str | None = None) -> None:
        """Write down, in the table and in the bucket, that a version was committed; `known` is what the table has.

        Raises nothing: it is published, and the next holder of the lock writes what is missing.
        """
        if manifest.version != known:
            lock.note_published(manifest.version)
        try:
            write_receipt(self.store, self.database, manifest)
        except EmbeddingAssetsError as error:
            self.progress(f"warning: the receipt of version {manifest.version} is not written yet: {error}")


@dataclass(frozen=True)
class PublishingTask:
    """A task that publishes, with short names for what its publisher holds."""

    publisher: Publisher

    @property
    def store(self) -> Store:
        """The bucket."""
        return self.publisher.store

    @property
    def ledger(self) -> Ledger:
        """The batch summaries."""
        return self.publisher.ledger

    @property
    def database(self) -> Database:
        """The database whose versions are published."""
        return self.publisher.database

    @property
    def progress(self) -> Progress:
        """Given a line now and then."""
        return self.publisher.progress

    @property
    def shared(self) -> SharedVersions | None:
        """The versions on the shared file system."""
        return self.publisher.shared
