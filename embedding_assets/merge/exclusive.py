"""The right to publish: the database's lock, and the pointer as it stands under it, fenced where need be.

Promise: whoever is inside is the only one who can publish. A former holder that had not released the lock may
still be alive; the fence makes its conditional write on the pointer fail, whatever it believes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from embedding_assets.databases import Database
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.ledger.lock import MergeLock
from embedding_assets.snapshots.publish import fence
from embedding_assets.snapshots.store import Store
from embedding_assets.snapshots.versions import Pointer, read_pointer

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Exclusive:
    """What the holder works with. `pointer` is None where nothing was ever published."""

    lock: MergeLock
    pointer: Pointer | None


@contextmanager
def exclusive(
    store: Store, ledger: Ledger, database: Database, purpose: str, lease_seconds: float, tell: Tell
) -> Iterator[Exclusive]:
    """Hold the lock of `database` meanwhile; `purpose` (an execution's id) is told to those who wait.

    Raises LockError where it cannot be had, or where a greater epoch has written the pointer.
    """

    def floor() -> int:
        pointer = read_pointer(store, database)
        return pointer.epoch if pointer else 0

    with MergeLock(
        ledger.client,
        ledger.table,
        database.name,
        execution_id=purpose,
        lease_seconds=lease_seconds,
        epoch_floor=floor,
        on_wait=tell,
    ) as lock:
        pointer = read_pointer(store, database)
        if lock.taken_over and pointer is not None:
            pointer = fence(store, database, pointer, lock.epoch)
        yield Exclusive(lock, pointer)
