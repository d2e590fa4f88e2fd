"""The hierarchy of an execution's merge: its chunks, then their groups, in one process.

In a small execution what each step costs Dagster is more than what it does: one step then does this.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from pydantic import TypeAdapter

from embedding_assets.bucket.keys import groups_key
from embedding_assets.bucket.store import Store
from embedding_assets.executions.intermediate import IntermediateMerger, IntermediateSnapshots, MergedIntermediate
from embedding_assets.executions.plan import Chunk, Intermediate, split_groups
from embedding_assets.processes.concurrency import concurrently
from embedding_assets.progress import Progress

SMALL_UP_TO = 50_000
"""Embeddings of an execution up to which its chunks and groups are merged in one step."""
AT_ONCE_UP_TO = 20_000
"""Embeddings of a chunk up to which several are merged at once in one process: more could fill the memory."""

GROUPS = TypeAdapter(list[list[Intermediate]])


def is_small(chunks: Sequence[Chunk]) -> bool:
    """Whether one step merges all of them in less time than more steps would take to start."""
    return sum(embeddings(chunk) for chunk in chunks) <= SMALL_UP_TO


def embeddings(chunk: Chunk) -> int:
    """How many the deltas of a chunk have."""
    return sum(result.embedding_count for result in chunk.delta_results)


@dataclass(frozen=True)
class Hierarchy:
    """Merges the chunks of an execution, and groups of them above the threshold."""

    store: Store
    merger: IntermediateMerger
    group_size: int
    group_threshold: int
    chunk_concurrency: int
    group_concurrency: int

    def merge(self, execution_id: str, chunks: Sequence[Chunk], report: Progress) -> IntermediateSnapshots:
        """Everything that the final merge takes. What is there already is not merged again."""
        small = all(embeddings(chunk) <= AT_ONCE_UP_TO for chunk in chunks)
        merged = concurrently(
            [partial(self.merger.merge_chunk, chunk) for chunk in chunks],
            _at_once(self.chunk_concurrency, small=small),
        )
        groups = concurrently(
            [
                partial(self.merger.merge_group, execution_id, number, parts)
                for number, parts in enumerate(self.groups(execution_id, merged))
            ],
            _at_once(self.group_concurrency, small=small),
        )
        for part in (*merged, *groups):
            report(summary(part))
        return listed(execution_id, merged, groups)

    def groups(self, execution_id: str, merged: Sequence[MergedIntermediate]) -> list[list[Intermediate]]:
        """The groups of merged chunks, which are also written down; none up to the threshold."""
        groups = split_groups(_ordered(merged), self.group_size, self.group_threshold)
        if groups:
            plain = [[Intermediate(intermediate_key=part.intermediate_key) for part in parts] for parts in groups]
            self.store.put(groups_key(execution_id), GROUPS.dump_json(plain, indent=2, exclude_none=True))
        return groups


def listed(
    execution_id: str, chunks: Sequence[MergedIntermediate], groups: Sequence[MergedIntermediate]
) -> IntermediateSnapshots:
    """What was merged, as the final merge takes it."""
    return IntermediateSnapshots(
        execution_id=execution_id,
        intermediates=tuple(_ordered(groups or chunks)),
        chunks=tuple(chunks),
        groups=tuple(groups),
    )


def summary(merged: MergedIntermediate) -> str:
    """One line about a chunk or group."""
    what = "already there" if merged.reused else f"merged in {merged.processing_time_seconds:.2f} s"
    return (
        f"{merged.intermediate_key}: {merged.rows_in} rows of {merged.sources} sources, {merged.count} ids, {what}"
    )


def _at_once(concurrency: int, *, small: bool) -> int:
    return min(concurrency, 2 * (os.cpu_count() or 1)) if small else 1


def _ordered(merged: Sequence[MergedIntermediate]) -> list[Intermediate]:
    """In the order of their numbers, whatever the order in which the steps ended."""
    return [
        Intermediate(intermediate_key=part.intermediate_key, digest=part.digest)
        for part in sorted(merged, key=lambda part: part.number)
    ]
