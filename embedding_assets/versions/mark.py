"""Marking: batches get their final status from the manifests of the published chain, and from nowhere else.

Promise: a batch is marked only if a published version accounts for it, it is still live, and its generation
is the manifest's. Marking again changes nothing; it also repairs what an earlier crash left unmarked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from embedding_assets.bucket.keys import batch_key
from embedding_assets.bucket.store import Store
from embedding_assets.databases import Database
from embedding_assets.errors import ItemError
from embedding_assets.ledger.batch_summary import BatchSummary
from embedding_assets.ledger.bookmark import Bookmark
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.versions.manifest import VersionBatch, VersionManifest, chain, epoch_of
from embedding_assets.versions.witnesses import trusted_pointer

MARKS_AT_ONCE = 16

Report = Callable[[Sequence[BatchSummary]], None]


def mark_published(store: Store, ledger: Ledger, database: Database) -> list[BatchSummary]:
    """Mark what the published chain accounts for, back to the last version known to be fully marked.

    Returns the rows that this call marked, as they are now. The versions are marked oldest first. Raises
    LostPointerError, and marks nothing, if the pointer is behind what the table knows.
    """
    pointer = trusted_pointer(store, ledger, database)
    return mark_chain(store, ledger, database, pointer.manifest) if pointer is not None else []


def mark_chain(
    store: Store,
    ledger: Ledger,
    database: Database,
    published: VersionManifest,
    report: Report = lambda rows: None,
) -> list[BatchSummary]:
    """The same, if the published version is known already.

    `report` gets the rows that have their final status from these versions, when they lie in the bucket: also
    those of an earlier call that ended before it came so far. Only after it is everything known to be marked.
    """
    bookmark = Bookmark(ledger.client, ledger.table, database.name)
    fully_marked = bookmark.read().version
    if fully_marked == published.version:
        return []
    unmarked = _since(store, database, published, fully_marked)
    if unmarked is None:
        trusted_pointer(store, ledger, database)
        return []
    bookmark.begin(published.version)
    marked: list[BatchSummary] = []
    settled: list[BatchSummary] = []
    for manifest in reversed(unmarked):
        rows = ledger.get_many(batch.batch_id for batch in manifest.batches)
        settled += [row for row in rows.values() if _settled_by(manifest, row)]
        marked += _mark_version(ledger, manifest, rows)
    settled += marked
    with ThreadPoolExecutor(MARKS_AT_ONCE) as pool:
        list(pool.map(lambda row: keep_row(store, row), settled))
    report(settled)
    bookmark.write(published.version)
    return marked


def waiting_for_marks(store: Store, ledger: Ledger, database: Database) -> set[tuple[str, int]]:
    """Batches, with their generation, that the published chain accounts for and that may not be marked yet."""
    published = trusted_pointer(store, ledger, database)
    fully_marked = Bookmark(ledger.client, ledger.table, database.name).read().version
    unmarked = _since(store, database, published.manifest, fully_marked) if published is not None else None
    return {(batch.batch_id, batch.generation) for manifest in unmarked or () for batch in manifest.batches}


def _since(
    store: Store, database: Database, published: VersionManifest, fully_marked: str | None
) -> list[VersionManifest] | None:
    """The versions of the chain after `fully_marked`, newest first; None if that one is not in the chain.

    Then another process has published and marked a newer one since the pointer was read, or the pointer is lost.
    """
    unmarked: list[VersionManifest] = []
    epoch = epoch_of(fully_marked) if fully_marked is not None else None
    for manifest in chain(store, database, published):
        if manifest.version == fully_marked:
            return unmarked
        if epoch is not None and manifest.epoch < epoch:
            return None
        unmarked.append(manifest)
    return unmarked if fully_marked is None else None


def keep_row(store: Store, row: BatchSummary) -> None:
    """The row as it is now, for whoever loads the asset `batches`."""
    store.put(batch_key(row.batch_id), row.model_dump_json(indent=2).encode())


def keep_changed(store: Store, ledger: Ledger, kept: Mapping[str, BatchSummary]) -> list[BatchSummary]:
    """Keep the rows again that another process changed since they were `kept`; return them as they are now.

    Whoever writes a row to the bucket may be late: another process may have finished the batch and kept its row in
    between. Nobody would keep that row again.
    """
    now = dict(kept)
    while changed := [row for row in ledger.get_many(now).values() if row != now[row.batch_id]]:
        for row in changed:
            keep_row(store, row)
            now[row.batch_id] = row
    return [row for batch_id, row in now.items() if row != kept[batch_id]]


def _settled_by(manifest: VersionManifest, row: BatchSummary) -> bool:
    """Whether the row was marked before, for this version."""
    return not row.status.live and row.snapshot_version == manifest.version


def _mark_version(
    ledger: Ledger, manifest: VersionManifest, rows: Mapping[str, BatchSummary]
) -> list[BatchSummary]:
    wanted = [batch for batch in manifest.batches if _markable(rows.get(batch.batch_id), batch)]
    with ThreadPoolExecutor(MARKS_AT_ONCE) as pool:
        return _present(pool.map(lambda batch: _mark(ledger, manifest, batch, rows[batch.batch_id]), wanted))


def _markable(row: BatchSummary | None, batch: VersionBatch) -> bool:
    return row is not None and row.status.live and row.generation == batch.generation


def _mark(
    ledger: Ledger, manifest: VersionManifest, batch: VersionBatch, row: BatchSummary
) -> BatchSummary | None:
    """The row as it is marked. One that DynamoDB does not take counts against its batch: the others are marked."""
    values = {
        "embedded_count": batch.embedded,
        "failed_count": batch.failed,
        "unfinished_count": batch.unfinished,
        "request_count": batch.embedded + batch.failed + batch.unfinished,
        "retryable_count": batch.retryable,
        "execution_id": manifest.execution_id,
        "snapshot_version": manifest.version,
    }
    try:
        return ledger.finish(batch.batch_id, batch.generation, batch.status, values)
    except ItemError as error:
        with suppress(ItemError):
            ledger.count_failure(row, str(error))
        return None


def _present(rows: Iterable[BatchSummary | None]) -> list[BatchSummary]:
    return [row for row in rows if row is not None]
