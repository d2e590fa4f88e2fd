"""The right to publish: the database's lock, and the pointer as it is under it, fenced if need be.

Promise: whoever is inside is the only one who can publish. A former holder that had not released the lock may
still be alive; the fence makes its conditional write on the pointer fail, whatever it believes. And nobody is
inside on a pointer that is behind what the table knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from embedding_assets.bucket.store import Store
from embedding_assets.databases import Database
from embedding_assets.errors import EmbeddingAssetsError
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.ledger.locks import MergeLock
from embedding_assets.progress import Progress
from embedding_assets.versions.manifest import Pointer, VersionManifest, read_pointer
from embedding_assets.versions.publish import fence
from embedding_assets.versions.receipts import write_receipt
from embedding_assets.versions.witnesses import read_witnesses, require


@dataclass(frozen=True)
class PublicationLock:
    """What the holder works with. `pointer` is None if nothing was ever published."""

    lock: MergeLock
    pointer: Pointer | None


def merge_lock(
    ledger: Ledger,
    database: Database,
    purpose: str,
    lease_seconds: float,
    floor: Callable[[], int],
    report: Progress,
) -> MergeLock:
    """The lock of `database`, not taken yet; `floor` returns the greatest epoch that was ever used."""
    return MergeLock(
        ledger.client,
        ledger.table,
        database.name,
        execution_id=purpose,
        lease_seconds=lease_seconds,
        renewing=ledger.renewing_client(lease_seconds),
        epoch_floor=floor,
        on_wait=report,
    )


@contextmanager
def publication_lock(
    store: Store, ledger: Ledger, database: Database, purpose: str, lease_seconds: float, progress: Progress
) -> Iterator[PublicationLock]:
    """Hold the lock of `database` meanwhile; `purpose` (an execution's id) is shown to those who wait.

    Raises LockError if it cannot be had, or if a greater epoch has written the pointer; LostPointerError if the
    pointer is gone, or behind what the table knows.
    """

    def floor() -> int:
        pointer = read_pointer(store, database)
        return pointer.epoch if pointer else 0

    with merge_lock(ledger, database, purpose, lease_seconds, floor, progress) as lock:
        witnesses = read_witnesses(ledger, database)
        pointer = read_pointer(store, database)
        if lock.taken_over and pointer is not None:
            pointer = fence(store, database, pointer, lock.epoch)
        require(store, database, witnesses, pointer)
        if pointer is not None:
            note_published(store, database, pointer.manifest, lock, progress, known=witnesses.published)
        yield PublicationLock(lock, pointer)


def note_published(
    store: Store,
    database: Database,
    published: VersionManifest,
    lock: MergeLock,
    report: Progress,
    known: str | None = None,
) -> None:
    """Write down, in the table and in the bucket, that a version was committed; `known` is what the table says.

    Raises nothing: it is published, and the next holder of the lock writes what is missing.
    """
    if published.version != known:
        lock.note_published(published.version)
    try:
        write_receipt(store, database, published)
    except EmbeddingAssetsError as error:
        report(f"warning: the receipt of version {published.version} is not written yet: {error}")
