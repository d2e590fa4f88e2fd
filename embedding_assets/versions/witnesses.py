"""The table and the bucket watch each other: is the pointer at least as far as the table knows?

The pointer is the truth of what is published. It is also one object, which can be deleted, or put back to an
older object version. The table knows versions that were published: the lock's item names the last one
(`published`), the bookmark the last one that was marked (`version`) or that marking had begun (`reached`).

Promise: whoever builds on the pointer, marks from it or sweeps by it knows that its chain holds those versions,
or stops with one line. An older table, a backup say, knows older versions of the chain: that stops nobody.
Witnesses are read before the pointer: versions are only added, so that a pointer read later holds them all.

Limits: a process that dies between the commit and the next call leaves no witness. If the pointer is put back
in that moment, before anything else was done with the database, that one version is not missed; its batches
are still live and are published again. A witness more than `RECENT` versions behind is not looked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from embedding_assets.bucket.aws import translated
from embedding_assets.bucket.keys import pointer_key
from embedding_assets.bucket.store import Store
from embedding_assets.databases import Database
from embedding_assets.errors import LostPointerError
from embedding_assets.ledger.bookmark import Bookmark
from embedding_assets.ledger.lease_row import read_row
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.versions.manifest import Pointer, VersionManifest, chain, epoch_of, read_pointer
from embedding_assets.versions.receipts import newest_receipt

RECENT = 20
"""Ancestors that are read to find a witness in the chain; usually it is the pointer's own version."""


@dataclass(frozen=True)
class Witnesses:
    """Versions that the table knows were published. `published` is the one of the lock's item."""

    marked: str | None = None
    reached: str | None = None
    published: str | None = None

    @property
    def versions(self) -> list[str]:
        """All of them, each once, the newest first."""
        known = {one for one in (self.marked, self.reached, self.published) if one is not None}
        return sorted(known, key=lambda version: (epoch_of(version) or 0, version), reverse=True)


def read_witnesses(ledger: Ledger, database: Database) -> Witnesses:
    """What the table knows now."""
    marked = Bookmark(ledger.client, ledger.table, database.name).read()
    with translated(f"reading the lock of {database.name}"):
        item = ledger.client.get_item(
            TableName=ledger.table,
            Key={"PK": {"S": f"LOCK#{database.name}"}, "SK": {"S": "LOCK"}},
            ConsistentRead=True,
        ).get("Item", {})
    return Witnesses(marked.version, marked.reached, read_row(item, 0.0).published)


def trusted_pointer(store: Store, ledger: Ledger, database: Database) -> Pointer | None:
    """The pointer, None if nothing was ever published. LostPointerError if the table knows better."""
    witnesses = read_witnesses(ledger, database)
    pointer = read_pointer(store, database)
    require(store, database, witnesses, pointer)
    return pointer


def require(store: Store, database: Database, witnesses: Witnesses, pointer: Pointer | None) -> None:
    """LostPointerError, naming the version and the remedy, unless the pointer's chain holds all witnesses."""
    if pointer is None:
        missing = next(iter(witnesses.versions), None) or newest_receipt(store, database)
    else:
        missing = not_in_chain(store, database, witnesses.versions, pointer.manifest, RECENT)
    if missing is not None:
        raise lost(store, database, missing, pointer)


def lost(store: Store, database: Database, missing: str, pointer: Pointer | None) -> LostPointerError:
    """The error that says which version is missing, and what to do."""
    where = store.uri(pointer_key(database))
    what = (
        f"{where} is missing, but version {missing} of {database.name} was published"
        if pointer is None
        else f"{where} points at version {pointer.manifest.version}, but version {missing} of {database.name} "
        "was published and is not in its history"
    )
    return LostPointerError(f"{what}: run `embedding-assets snapshots repair {database.name}`")


def not_in_chain(
    store: Store, database: Database, versions: Sequence[str], newest: VersionManifest, most: int | None = None
) -> str | None:
    """The first of `versions` that is certainly not in the chain of `newest`; None if there is none.

    Epochs fall along the chain, so the walk ends below the least epoch that is looked for. At most `most`
    ancestors are read; what was not found by then counts as there.
    """
    missing = list(versions)
    for number, manifest in enumerate(chain(store, database, newest)):
        missing = [version for version in missing if version != manifest.version]
        for version in missing:
            epoch = epoch_of(version)
            if epoch is not None and manifest.epoch < epoch:
                return version
        if not missing or number == most:
            return None
    return missing[0]
