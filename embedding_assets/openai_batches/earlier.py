"""What is known of a batch from before: the version that published it, its old status, its earlier poll."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from pydantic import ValidationError

from embedding_assets.bucket.keys import errors_key, result_key
from embedding_assets.bucket.store import Store
from embedding_assets.chroma.row_source import CHROMA_FILE
from embedding_assets.databases import Database
from embedding_assets.errors import NotFoundError
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.openai_batches.poll_result import PollResult, RequestError, read_errors
from embedding_assets.rows.snapshot_directory import find_complete, find_manifest
from embedding_assets.versions.manifest import VersionManifest, chain, read_pointer, read_version


@dataclass(frozen=True)
class Earlier:
    """How a batch ended before: what a version accounts for, or what its row alone says (then no counts)."""

    status: Status
    summary: str
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
                    summary=f"what version {manifest.version} published of it stays",
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


def earlier_with_delta(store: Store, batch: BatchSummary) -> PollResult | None:
    """The result of an earlier poll if its delta is still whole: what was paid for is not thrown away."""
    stored = store.find(result_key(batch.batch_id))
    try:
        earlier = PollResult.model_validate_json(stored.data) if stored is not None else None
    except ValidationError:
        return None
    if earlier is None or earlier.openai_batch_id != batch.openai_batch_id:
        return None
    if not earlier.has_delta or not _is_whole(store, earlier.delta_key):
        return None
    return earlier.model_copy(
        update={
            "generation": batch.generation,
            "precedence_at": batch.precedence,
            "message": "OpenAI's output is gone; the delta of an earlier poll is used",
        }
    )


def earlier_errors(store: Store, batch: BatchSummary) -> list[RequestError]:
    """What `errors.jsonl` has of a batch that was opened again.

    It is more than can be learnt now that OpenAI has nothing of it any more.
    """
    stored = store.find(errors_key(batch.batch_id)) if batch.generation else None
    try:
        return read_errors(stored.data) if stored is not None else []
    except ValidationError:
        return []


def _is_whole(store: Store, prefix: str | None) -> bool:
    """Whether a delta is there: whole by its manifest, or a Chroma directory of another program."""
    if prefix is None:
        return False
    if find_manifest(store, prefix) is not None:
        return find_complete(store, prefix) is not None
    return any(stored.key == prefix + CHROMA_FILE for stored in store.list(prefix))


def is_first_poll(batch: BatchSummary) -> bool:
    """Whether nothing says that the batch was polled before."""
    return batch.status.live and not batch.generation and not batch.ingest_attempts and not batch.missing_since
