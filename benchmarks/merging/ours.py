"""The product's own merge: chunks, groups, the comparison with what is published, and one build."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from embedding_assets.bucket.store import Store
from embedding_assets.databases import LINES
from embedding_assets.executions.accounting import version_batch
from embedding_assets.executions.already_published import already_published, with_published
from embedding_assets.executions.build import BuiltVersion, VersionBuilder
from embedding_assets.executions.changes import Changes, compare
from embedding_assets.executions.fold import keys_of
from embedding_assets.executions.intermediate import IntermediateMerger, open_intermediates
from embedding_assets.executions.plan import Intermediate, split_chunks, split_groups
from embedding_assets.executions.write_index import IndexPolicy, IndexWriter
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.rows.record_index import CARRIED, alive, digest_of
from embedding_assets.versions.manifest import VersionManifest

CHUNK_SIZE = 10
GROUP_SIZE = 10
GROUP_THRESHOLD = 4


@dataclass(frozen=True)
class Merged:
    """What a merge gave."""

    built: BuiltVersion
    changes: Changes


def merge(
    store: Store,
    results: Sequence[PollResult],
    base: VersionManifest | None,
    folder: Path,
    writer: IndexWriter,
    nearby: Path | None = None,
    *,
    reopened: bool = False,
    split: bool = False,
) -> Merged:
    """From deltas to a built and verified version in `folder`, with the settings' defaults.

    `reopened` batches are those that `base` was published from, polled again.
    """
    folder.mkdir(parents=True)
    if base is not None and reopened:
        again = [result.model_copy(update={"generation": 1}) for result in results]
        results = with_published(store, LINES, base, again)
    execution = f"20260102T120000Z-{uuid.uuid4().hex[:8]}"
    merger = IntermediateMerger(store, LINES, "arrow")
    chunks = [merger.merge_chunk(chunk) for chunk in split_chunks(execution, results, CHUNK_SIZE)]
    parts = [Intermediate(intermediate_key=one.intermediate_key, digest=one.digest) for one in chunks]
    groups = split_groups(parts, GROUP_SIZE, GROUP_THRESHOLD)
    if groups:
        merged = [merger.merge_group(execution, number, group) for number, group in enumerate(groups)]
        parts = [Intermediate(intermediate_key=one.intermediate_key, digest=one.digest) for one in merged]
    sources = open_intermediates(store, parts, folder / "parts")
    builder = VersionBuilder(store, LINES, base, folder, nearby, policy=IndexPolicy(writer, split=split))
    left_out = {result.batch_id for result in results if not result.to_fold}
    if base is not None and left_out:
        left_out = already_published(store, LINES, base, builder.base_index(), results)
    changes = compare(keys_of(sources, more=CARRIED), builder.base_index(), left_out=left_out)
    version = f"{(base.epoch if base else 0) + 1}-{uuid.uuid4().hex[:12]}"
    return Merged(builder.build(version, sources, changes, lambda: None), changes)


def publish(store: Store, merged: Merged, epoch: int, results: Sequence[PollResult]) -> VersionManifest:
    """Upload what was built; the manifest with which the next merge builds on it."""
    store.upload_files(merged.built.uploads)
    return VersionManifest(
        version=f"{epoch}-{uuid.uuid4().hex[:12]}",
        database=LINES.name,
        collection=LINES.collection,
        execution_id="none",
        parent=None,
        epoch=epoch,
        commit_id=uuid.uuid4().hex,
        created_at="2026-01-02T12:00:00Z",
        model=None,
        dimensions=merged.built.dimensions,
        space=LINES.space,
        chroma_version="",
        total_embeddings=alive(merged.changes.index).num_rows,
        content_digest=digest_of(merged.changes.index),
        files=merged.built.files,
        recall=merged.built.written.recall,
        batches=tuple(version_batch(result) for result in results),
    )
