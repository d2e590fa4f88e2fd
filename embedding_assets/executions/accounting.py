"""What a version accounts for: which poll results, whether all of them came through, what marking will write."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial

import pyarrow as pa
from pydantic import ValidationError

from embedding_assets.bucket.keys import errors_key
from embedding_assets.bucket.store import Store
from embedding_assets.databases import Database
from embedding_assets.errors import ConservationError, DamagedError, WithdrawnError
from embedding_assets.executions.intermediate import IntermediateSnapshots
from embedding_assets.openai_batches.poll_result import PollResult, RequestError, read_errors
from embedding_assets.processes.concurrency import concurrently
from embedding_assets.versions.changes_file import RecordChange, rows_of
from embedding_assets.versions.history import withdrawn_generations
from embedding_assets.versions.manifest import VersionBatch, VersionManifest, whole_chain
from embedding_assets.versions.next_version import Withdrawn


def inputs_digest(accounted: Sequence[PollResult]) -> str:
    """What tells whether two merges of an execution are about the same poll results."""
    parts = sorted(
        f"{result.batch_id} {result.generation} {result.delta_key} {result.final_status} {result.embedding_count}"
        f" {result.failed_count} {result.unfinished_count}"
        for result in accounted
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def check_complete(accounted: Sequence[PollResult], snapshots: IntermediateSnapshots) -> None:
    """What was polled came into chunks, what came out of the chunks into groups, and all of that is merged."""
    execution_id = snapshots.execution_id
    polled = sum(result.embedding_count for result in accounted if result.published_as is None)
    chunked = sum(chunk.rows_in for chunk in snapshots.chunks)
    if polled != chunked:
        raise ConservationError(
            f"execution {execution_id}: {polled} embeddings were polled, {chunked} came into chunks"
        )
    out_of_chunks = sum(chunk.count for chunk in snapshots.chunks)
    into_groups = sum(group.rows_in for group in snapshots.groups)
    if snapshots.groups and out_of_chunks != into_groups:
        raise ConservationError(
            f"execution {execution_id}: {out_of_chunks} rows came out of chunks, {into_groups} into groups"
        )
    made = {part.intermediate_key for part in snapshots.groups or snapshots.chunks}
    taken = {part.intermediate_key for part in snapshots.intermediates}
    if made != taken:
        raise ConservationError(
            f"execution {execution_id}: {len(made)} intermediate snapshots were made, {len(taken)} are merged"
        )


def version_batch(result: PollResult) -> VersionBatch:
    """What a version's manifest says of one batch."""
    status = result.final_status
    if status is None:
        raise ConservationError(f"batch {result.batch_id} is not finished, but has something to merge")
    return VersionBatch(
        batch_id=result.batch_id,
        generation=result.generation,
        status=status,
        embedded=result.embedding_count,
        failed=result.failed_count,
        unfinished=result.unfinished_count,
        delta_key=result.delta_key,
        deleted=result.deletion_count,
        retryable=result.retryable_count,
    )


def still_withdrawn(
    store: Store, database: Database, base: VersionManifest | None, report: Callable[[str], None]
) -> Withdrawn:
    """The batches that a rollback took out of `base`, with the generation in which each was published.

    The manifest has them. One from before there was such a field has the names alone: then the chain is read,
    once, and the next version carries them on.
    """
    if base is None or not base.withdrawn:
        return Withdrawn()
    generations = base.withdrawn_generations
    if generations is None:
        generations = dict(withdrawn_generations(whole_chain(store, database, base, report), base))
    return Withdrawn(base.withdrawn, generations)


def without(out: Withdrawn, accounted: Sequence[PollResult]) -> Withdrawn:
    """What stays withdrawn when these results are published."""
    back = {result.batch_id for result in accounted}
    generations = out.generations or {}
    return Withdrawn(
        tuple(batch_id for batch_id in out.batch_ids if batch_id not in back),
        {batch_id: number for batch_id, number in generations.items() if batch_id not in back},
    )


def refuse_withdrawn(accounted: Sequence[PollResult], out: Withdrawn) -> None:
    """Raise WithdrawnError for a batch that was published and rolled back since it was polled."""
    generations = out.generations or {}
    for result in accounted:
        if result.generation <= generations.get(result.batch_id, -1):
            raise WithdrawnError(
                f"batch {result.batch_id} was published and rolled back since it was polled: "
                "only reprocess brings it back"
            )


def without_embedding(store: Store, accounted: Sequence[PollResult]) -> pa.Table:
    """What of the batches has no embedding, as changes of a version: failed or unfinished, with its code.

    Raises DamagedError if the errors of a batch cannot be read.
    """
    without = [result for result in accounted if result.failed_count + result.unfinished_count]
    kept = concurrently([partial(_errors, store, result.batch_id) for result in without])
    return rows_of(
        RecordChange(error.id, error.reason, result.batch_id, error.code)
        for result, errors in zip(without, kept, strict=True)
        for error in errors
    )


def _errors(store: Store, batch_id: str) -> list[RequestError]:
    found = store.find(errors_key(batch_id))
    try:
        return read_errors(found.data) if found else []
    except ValidationError as error:
        raise DamagedError(f"{store.uri(errors_key(batch_id))} cannot be read") from error
