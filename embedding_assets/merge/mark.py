"""Marking: batches get their final status from the manifests of the published chain, and from nowhere else.

Promise: a batch is marked only where a published version accounts for it, it is still live, and its generation
is the manifest's. Marking again changes nothing; it also repairs what an earlier crash left unmarked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from embedding_assets.aws import translated
from embedding_assets.databases import Database
from embedding_assets.errors import ItemError
from embedding_assets.ledger.batch_summary import BatchSummary
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.openai_batches.keys import batch_key
from embedding_assets.snapshots.store import Store
from embedding_assets.snapshots.versions import VersionBatch, VersionManifest, chain, read_pointer

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MARKS_AT_ONCE = 16

Report = Callable[[Sequence[BatchSummary]], None]


def mark_published(store: Store, ledger: Ledger, database: Database) -> list[BatchSummary]:
    """Mark what the published chain accounts for, back to the last version known to be fully marked.

    Returns the rows that this call marked, as they are now. The versions are marked oldest first.
    """
    pointer = read_pointer(store, database)
    return mark_chain(store, ledger, database, pointer.manifest) if pointer is not None else []


def mark_chain(
    store: Store,
    ledger: Ledger,
    database: Database,
    published: VersionManifest,
    report: Report = lambda rows: None,
) -> list[BatchSummary]:
    """The same, where the published version is known already.

    `report` gets the rows that have their final status from these versions, when they lie in the bucket: also
    those of an earlier call that ended before it came so far. Only after it is everything known to be marked.
    """
    bookmark = Bookmark(ledger.client, ledger.table, database.name)
    fully_marked = bookmark.read()
    if fully_marked == published.version:
        return []
    unmarked: list[VersionManifest] = []
    for manifest in chain(store, database, published):
        if manifest.version == fully_marked:
            break
        unmarked.append(manifest)
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


def keep_row(store: Store, row: BatchSummary) -> None:
    """The row as it is now, for whoever loads the asset `batches`."""
    store.put(batch_key(row.batch_id), row.model_dump_json(indent=2).encode())


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


class Bookmark:
    """The last version whose batches, and those of all its ancestors, are marked.

    It only spares reading the whole chain again: without it, or with an old one, the same rows are marked.
    It lies in the table of the rows themselves, so that a restored table brings its own.
    """

    def __init__(self, client: DynamoDBClient, table: str, database: str) -> None:
        self._client = client
        self._table = table
        self._database = database

    def read(self) -> str | None:
        """The version, or None where nothing was marked yet."""
        with translated(f"reading the bookmark of {self._database}"):
            item = self._client.get_item(TableName=self._table, Key=self._key(), ConsistentRead=True).get("Item")
        return item["version"]["S"] if item and "version" in item else None

    def write(self, version: str) -> None:
        """Note that everything up to `version` is marked."""
        with translated(f"writing the bookmark of {self._database}"):
            self._client.put_item(TableName=self._table, Item={**self._key(), "version": {"S": version}})

    def _key(self) -> dict[str, dict[str, str]]:
        return {"PK": {"S": f"MARKED#{self._database}"}, "SK": {"S": "MARKED"}}
