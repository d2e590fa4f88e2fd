"""The manifest of the next version: the one place that makes one, for merges, rollbacks and rebuilds alike."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from embedding_assets.databases import Database
from embedding_assets.ledger.batch_summary import format_instant
from embedding_assets.versions.manifest import ChangesFile, VersionBatch, VersionManifest
from embedding_assets.versions.version_files import VersionFile


@dataclass(frozen=True)
class GraphFacts:
    """Who wrote the graph, the share of the nearest records that searches in it find, and how many nodes it has.

    Nodes of deleted and replaced records stay in a graph until it is built anew. None is not known.
    """

    writer: str | None = None
    recall: float | None = None
    nodes: int | None = None


@dataclass(frozen=True)
class Content:
    """What a version holds, and how it was built."""

    collection: str
    model: str | None
    dimensions: int | None
    space: str
    chroma_version: str
    total_embeddings: int
    content_digest: str
    files: tuple[VersionFile, ...]
    graph: GraphFacts


@dataclass(frozen=True)
class Difference:
    """Records by what became of them, against the version before."""

    added: int = 0
    updated: int = 0
    removed: int = 0
    unchanged: int = 0


@dataclass(frozen=True)
class Withdrawn:
    """Batches that a rollback took out, and the generation in which each was published (None: not known)."""

    batch_ids: tuple[str, ...] = ()
    generations: Mapping[str, int] | None = field(default_factory=dict)


@dataclass(frozen=True)
class Account:
    """What a version accounts for. `inputs_digest` identifies what an execution merged, None if none did.

    `changes` is the file that lists what became of each record.
    """

    difference: Difference
    withdrawn: Withdrawn
    batches: tuple[VersionBatch, ...] = ()
    inputs_digest: str | None = None
    rolled_back_to: str | None = None
    changes: ChangesFile | None = None


def content_of(version: VersionManifest) -> Content:
    """The content of a version that is there, to be published again."""
    return Content(
        collection=version.collection,
        model=version.model,
        dimensions=version.dimensions,
        space=version.space,
        chroma_version=version.chroma_version,
        total_embeddings=version.total_embeddings,
        content_digest=version.content_digest,
        files=version.files,
        graph=GraphFacts(version.writer, version.recall, version.nodes),
    )


def next_manifest(
    database: Database,
    base: VersionManifest | None,
    version: str,
    epoch: int,
    purpose: str,
    content: Content,
    account: Account,
    merge_seconds: float = 0.0,
) -> VersionManifest:
    """The manifest of `version`, built on `base` by the holder of `epoch`; `purpose` is its execution's id.

    `merge_seconds` is how long it took from the lock to here.
    """
    generations = account.withdrawn.generations
    return VersionManifest(
        version=version,
        database=database.name,
        collection=content.collection,
        execution_id=purpose,
        parent=base.version if base else None,
        epoch=epoch,
        commit_id=uuid.uuid4().hex,
        created_at=format_instant(datetime.now(UTC)),
        model=content.model,
        dimensions=content.dimensions,
        space=content.space,
        chroma_version=content.chroma_version,
        total_embeddings=content.total_embeddings,
        content_digest=content.content_digest,
        files=content.files,
        batches=account.batches,
        withdrawn=account.withdrawn.batch_ids,
        withdrawn_generations=dict(generations) if generations is not None else None,
        fence=epoch,
        inputs_digest=account.inputs_digest,
        added=account.difference.added,
        updated=account.difference.updated,
        removed=account.difference.removed,
        unchanged=account.difference.unchanged,
        writer=content.graph.writer,
        recall=content.graph.recall,
        nodes=content.graph.nodes,
        rolled_back_to=account.rolled_back_to,
        sweeping=base.sweeping if base else (),
        merge_seconds=round(merge_seconds, 3),
        changes=account.changes,
    )
