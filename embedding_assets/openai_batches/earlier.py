"""What is known of a batch from before it was opened again: the version that published it, or its old status."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from embedding_assets.databases import Database
from embedding_assets.errors import NotFoundError
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.snapshots.store import Store
from embedding_assets.snapshots.versions import VersionManifest, chain, read_pointer, read_version


@dataclass(frozen=True)
class Earlier:
    """How a batch ended before: what a version accounts for, or what its row told alone (then no counts)."""

    status: Status
    told: str
    embedded: int = 0
    failed: int = 0
    unfinished: int = 0


def earlier_ending(store: Store, database: Database, batch: BatchSummary) -> Earlier | None:
    """How a batch ended that is published, or was COMPLETED, before it was opened again; else None.

    The published chain says so, first the version that the row names. Only for a batch that no version accounts
    for, one that another program had completed, the status that it was opened from is believed.
    """
    completed = Status.COMPLETED in (batch.status, batch.reopened_from)
    if batch.generation == 0 and batch.snapshot_version is None and not completed:
        return None
    for manifest in _versions(store, database, batch):
        for account in manifest.batches:
            if account.batch_id == batch.batch_id and account.embedded and account.generation <= batch.generation:
                return Earlier(
                    status=account.status,
                    told=f"what version {manifest.version} published of it stays",
                    embedded=account.embedded,
                    failed=account.failed,
                    unfinished=account.unfinished,
                )
    if completed:
        return Earlier(Status.COMPLETED, "it was COMPLETED before, and stays so")
    return None


def _versions(store: Store, database: Database, batch: BatchSummary) -> Iterator[VersionManifest]:
    if batch.snapshot_version is not None:
        with suppress(NotFoundError):
            yield read_version(store, database, batch.snapshot_version)
    pointer = read_pointer(store, database)
    if pointer is not None:
        yield from chain(store, database, pointer.manifest)
