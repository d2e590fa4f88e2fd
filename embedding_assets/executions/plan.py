"""Planning the hierarchy: chunks of deltas, and groups of intermediate snapshots. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from embedding_assets.errors import ConservationError
from embedding_assets.openai_batches.poll_result import PollResult

T = TypeVar("T")


class PlannedBatch(BaseModel):
    """One batch of an execution's manifest."""

    model_config = ConfigDict(frozen=True)

    index: int
    batch_id: str
    openai_batch_id: str


class ExecutionManifest(BaseModel):
    """Which batches an execution is about: `manifests/{execution_id}/batches.json`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    execution_id: str
    database: str
    created_at: str
    total_batches: int
    batches: tuple[PlannedBatch, ...]


class Chunk(BaseModel):
    """Deltas that are merged together. `batch_id` is the execution's id, as in the replaced system."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    chunk_index: int
    batch_id: str
    delta_results: tuple[PollResult, ...]


class Intermediate(BaseModel):
    """Where an intermediate snapshot lies; the key ends in `/`.

    `digest` is the sha256 of the manifest that the step left there: another run of the execution may write over
    it, and then it is not what was counted.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    intermediate_key: str
    digest: str | None = None


def split_chunks(execution_id: str, results: Sequence[PollResult], chunk_size: int) -> list[Chunk]:
    """Chunks of the results that have a delta, in their order. ConservationError if one got lost."""
    with_delta = [result for result in results if result.to_fold]
    chunks = [
        Chunk(chunk_index=index, batch_id=execution_id, delta_results=tuple(part))
        for index, part in enumerate(_parts(with_delta, chunk_size))
    ]
    if sum(len(chunk.delta_results) for chunk in chunks) != len(with_delta):
        raise ConservationError(f"execution {execution_id}: not every delta is in a chunk")
    return chunks


def split_groups(
    intermediates: Sequence[Intermediate], group_size: int, threshold: int
) -> list[list[Intermediate]]:
    """Groups of intermediates, if there are more than `threshold`; no groups otherwise."""
    if len(intermediates) <= threshold:
        return []
    return _parts(intermediates, group_size)


def _parts(items: Iterable[T], size: int) -> list[list[T]]:
    iterator = iter(items)
    return list(iter(lambda: list(islice(iterator, size)), []))
