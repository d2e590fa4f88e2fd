"""The commit protocol: how a version becomes the published one.

Promise: the pointer is replaced only over exactly the pointer that the version was built on, never over a
greater epoch; a commit whose answer was lost is recognised by its `commit_id`, in the pointer or in its chain;
whoever reads sees the old version or the new one.

1. every file of the version under a prefix that is used once,
2. the version's `manifest.json`, created if none is,
3. the pointer, replaced where it is still the one that was read. This is the one commit point.
"""

from __future__ import annotations

import time

from embedding_assets.bucket.keys import pointer_key, version_prefix
from embedding_assets.bucket.store import Fetched, Store
from embedding_assets.databases import Database
from embedding_assets.errors import LockError, LostPointerError, PreconditionError, TransientError
from embedding_assets.rows.snapshot_directory import MANIFEST
from embedding_assets.versions.manifest import (
    Pointer,
    VersionManifest,
    chain,
    read_pointer,
)

TRIES = 5
"""How often the pointer is written where answers get lost."""


def commit(store: Store, database: Database, manifest: VersionManifest, base: Pointer | None) -> None:
    """Publish `manifest`, built on `base`.

    Raises PreconditionError if another version was published meanwhile: build on that one and try again.
    Raises LockError if a greater epoch has written: the lock was lost, nothing may be published.
    Raises LostPointerError if `base` was the pointer and there is none now.
    """
    if base is not None:
        _refuse_older(database, base, manifest.epoch)
    data = manifest.model_dump_json(indent=2).encode()
    _create_manifest(store, version_prefix(database, manifest.version) + MANIFEST, data)
    for attempt in range(TRIES):
        try:
            if base is None:
                store.create(pointer_key(database), data)
            else:
                store.replace(pointer_key(database), data, base.etag)
        except (PreconditionError, TransientError) as error:
            if _resolved(store, database, manifest, base, error):
                return
            time.sleep(0.1 * 2**attempt)
        else:
            return
    raise TransientError(f"the pointer of {database.name} could not be replaced in {TRIES} tries")


def fence(store: Store, database: Database, pointer: Pointer, epoch: int) -> Pointer:
    """Write our epoch into the pointer, so that a former holder's conditional write is sure to fail.

    Returns the pointer as it stands then. Raises LockError if a greater epoch was there first.
    """
    for _ in range(TRIES):
        try:
            return amend(store, database, pointer, epoch)
        except PreconditionError:
            pointer = _still_there(store, database)
    raise TransientError(f"the pointer of {database.name} could not be fenced in {TRIES} tries")


def amend(
    store: Store, database: Database, pointer: Pointer, epoch: int, sweeping: tuple[str, ...] | None = None
) -> Pointer:
    """Replace exactly `pointer` by the same version with our epoch as its fence, and with `sweeping` where given.

    Returns the pointer as it stands then. Raises PreconditionError if another was there, LockError if
    that one has a greater epoch.
    """
    _refuse_older(database, pointer, epoch)
    changes = {"fence": epoch} if sweeping is None else {"fence": epoch, "sweeping": sweeping}
    wanted = pointer.manifest.model_copy(update=changes)
    current = pointer
    for attempt in range(TRIES):
        if current.manifest == wanted:
            return current
        if current.etag != pointer.etag:
            _refuse_older(database, current, epoch)
            raise PreconditionError(f"the pointer of {database.name} was replaced meanwhile")
        try:
            store.replace(pointer_key(database), wanted.model_dump_json(indent=2).encode(), pointer.etag)
        except (PreconditionError, TransientError):
            time.sleep(0.1 * 2**attempt)
        current = _still_there(store, database)
    raise TransientError(f"the pointer of {database.name} could not be amended in {TRIES} tries")


def put_back(
    store: Store, database: Database, manifest: VersionManifest, epoch: int, there: Fetched | None
) -> None:
    """Make a version that was published before the pointer again, with our epoch as its fence.

    Replaces exactly the object `there`, or nothing if it is None. Raises PreconditionError if the pointer is
    another one by now.
    """
    data = manifest.model_copy(update={"fence": epoch}).model_dump_json(indent=2).encode()
    for attempt in range(TRIES):
        try:
            if there is None:
                store.create(pointer_key(database), data)
            else:
                store.replace(pointer_key(database), data, there.etag)
        except (PreconditionError, TransientError) as error:
            current = store.find(pointer_key(database))
            if current is not None and current.data == data:
                return
            if (current and current.etag) != (there and there.etag):
                raise PreconditionError(f"the pointer of {database.name} was changed meanwhile") from error
            time.sleep(0.1 * 2**attempt)
        else:
            return
    raise TransientError(f"the pointer of {database.name} could not be put back in {TRIES} tries")


def _still_there(store: Store, database: Database) -> Pointer:
    pointer = read_pointer(store, database)
    if pointer is None:
        raise LostPointerError(
            f"{store.uri(pointer_key(database))}: the pointer is gone; "
            f"run `embedding-assets snapshots repair {database.name}`"
        )
    return pointer


def _create_manifest(store: Store, key: str, data: bytes) -> None:
    for attempt in range(TRIES):
        try:
            store.create(key, data)
        except (PreconditionError, TransientError) as error:
            there = store.find(key)
            if there is not None and there.data == data:
                return
            if there is not None:
                raise PreconditionError(f"{store.uri(key)} is there already, with other content") from error
            time.sleep(0.1 * 2**attempt)
        else:
            return
    raise TransientError(f"{store.uri(key)} could not be written in {TRIES} tries")


def _resolved(
    store: Store,
    database: Database,
    manifest: VersionManifest,
    base: Pointer | None,
    error: PreconditionError | TransientError,
) -> bool:
    """Whether an unclear write did publish; False means: the pointer is still `base`, try again."""
    current = read_pointer(store, database) if base is None else _still_there(store, database)
    if current is None:
        return False
    for ancestor in chain(store, database, current.manifest):
        if ancestor.commit_id == manifest.commit_id:
            return True
        if base is not None and ancestor.version == base.manifest.version:
            break
    _refuse_older(database, current, manifest.epoch)
    if base is not None and current.etag == base.etag:
        return False
    raise PreconditionError(
        f"version {current.manifest.version} of {database.name} was published meanwhile"
    ) from error


def _refuse_older(database: Database, current: Pointer, epoch: int) -> None:
    if current.epoch > epoch:
        raise LockError(
            f"epoch {current.epoch} has written the pointer of {database.name}: ours, {epoch}, is over"
        )
