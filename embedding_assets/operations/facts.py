"""What is known of one batch: its row, what lies in the bucket, and the version that accounts for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from embedding_assets.bucket.keys import (
    errors_key,
    records_key,
    result_key,
    version_prefix,
)
from embedding_assets.bucket.store import Store
from embedding_assets.databases import Database
from embedding_assets.errors import NotFoundError
from embedding_assets.ledger.batch_summary import BatchSummary, parse_instant
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.operations.request_errors import ErrorGroup, group_errors
from embedding_assets.versions.manifest import (
    Pointer,
    VersionManifest,
    chain,
    read_pointer,
    read_version,
)

ATTEMPTS_FOLLOWED = 20
"""Parents, and children, looked up at most."""


@dataclass(frozen=True)
class Artefact:
    """One thing of a batch in the bucket: where it is or would be, and whether it is there."""

    name: str
    location: str
    there: bool


@dataclass(frozen=True)
class Publication:
    """The version that accounts for a batch.

    `in_chain`: the published version is it or was built on it. `without` is the published version where a
    rollback took the batch out, else None.
    """

    version: str
    created_at: datetime
    execution_id: str
    in_chain: bool
    marked: bool
    without: str | None


@dataclass(frozen=True)
class BatchFacts:
    """All that is known. `attempts` are the rows of this batch, its parents and its children, oldest first."""

    row: BatchSummary
    database: str
    result: PollResult | None
    polled_at: datetime | None
    artefacts: tuple[Artefact, ...]
    errors: tuple[ErrorGroup, ...]
    publication: Publication | None
    attempts: tuple[BatchSummary, ...]


def gather(store: Store, ledger: Ledger, database: Database | None, row: BatchSummary) -> BatchFacts:
    """Read what there is; `database` is None if no configured one has the row's batch type."""
    batch_id = row.batch_id
    results = {stored.key: stored for stored in store.list(result_key(batch_id).removesuffix("result.json"))}
    stored_result = results.get(result_key(batch_id))
    result = _result(store, batch_id) if stored_result is not None else None
    publication = _publication(store, database, row) if database is not None else None
    places = {
        "records": (records_key(batch_id), _any(store, records_key(batch_id))),
        "poll result": (result_key(batch_id), stored_result is not None),
        "errors": (errors_key(batch_id), errors_key(batch_id) in results),
    }
    if result is not None and result.delta_key:
        places["delta"] = (result.delta_key, _any(store, result.delta_key))
    if publication is not None and database is not None:
        prefix = version_prefix(database, publication.version)
        places["version"] = (prefix, _any(store, prefix))
    return BatchFacts(
        row=row,
        database=database.name if database is not None else row.batch_type,
        result=result,
        polled_at=stored_result.last_modified if stored_result is not None else None,
        artefacts=tuple(Artefact(name, store.uri(key), there) for name, (key, there) in places.items()),
        errors=tuple(_errors(store, batch_id)) if errors_key(batch_id) in results else (),
        publication=publication,
        attempts=tuple(_attempts(ledger, row)),
    )


def _any(store: Store, prefix: str) -> bool:
    return next(iter(store.list(prefix)), None) is not None


def _result(store: Store, batch_id: str) -> PollResult | None:
    """The poll result; None if it cannot be read."""
    found = store.find(result_key(batch_id))
    try:
        return PollResult.model_validate_json(found.data) if found is not None else None
    except ValidationError:
        return None


def _errors(store: Store, batch_id: str) -> list[ErrorGroup]:
    found = store.find(errors_key(batch_id))
    return group_errors(found.data.splitlines()) if found is not None else []


def _publication(store: Store, database: Database, row: BatchSummary) -> Publication | None:
    """From the row where it is marked, else from the chain: published, and not marked yet."""
    pointer = read_pointer(store, database)
    if pointer is None:
        return None
    marked = not row.status.live and row.snapshot_version is not None
    found = _find(store, database, pointer, row, marked=marked)
    in_chain = found is not None
    if found is None and marked and row.snapshot_version is not None:
        try:
            found = read_version(store, database, row.snapshot_version)
        except NotFoundError:
            return None
    if found is None:
        return None
    return Publication(
        version=found.version,
        created_at=parse_instant(found.created_at),
        execution_id=found.execution_id,
        in_chain=in_chain,
        marked=marked,
        without=pointer.manifest.version if row.batch_id in pointer.manifest.withdrawn else None,
    )


def _find(
    store: Store, database: Database, pointer: Pointer, row: BatchSummary, *, marked: bool
) -> VersionManifest | None:
    """The version of the chain that the row names; of a live one, that accounts for this generation of it.

    No version that is older than the batch is looked at: it cannot account for it.
    """
    for manifest in chain(store, database, pointer.manifest):
        if marked and manifest.version == row.snapshot_version:
            return manifest
        if not marked and any(
            batch.batch_id == row.batch_id and batch.generation == row.generation for batch in manifest.batches
        ):
            return manifest
        if parse_instant(manifest.created_at) < row.submitted_at:
            return None
    return None


def _attempts(ledger: Ledger, row: BatchSummary) -> Iterator[BatchSummary]:
    """Parents first, then the batch itself, then what it was submitted again as."""
    seen = {row.batch_id}
    parents = list(_follow(ledger, row.parent_batch_id, "parent_batch_id", seen))
    yield from reversed(parents)
    yield row
    yield from _follow(ledger, row.resubmitted_as, "resubmitted_as", seen)


def _follow(ledger: Ledger, batch_id: str | None, link: str, seen: set[str]) -> Iterator[BatchSummary]:
    for _ in range(ATTEMPTS_FOLLOWED):
        row = ledger.get_many([batch_id]).get(batch_id) if batch_id is not None and batch_id not in seen else None
        if row is None:
            return
        seen.add(row.batch_id)
        yield row
        batch_id = getattr(row, link)
