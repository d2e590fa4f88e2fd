"""Published versions without their bytes: manifests that follow each other, and the objects that they name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from embedding_assets.bucket.keys import delta_prefix, version_prefix
from embedding_assets.bucket.store import StoredObject
from embedding_assets.databases import LINES
from embedding_assets.ledger.batch_summary import Status, format_instant
from embedding_assets.versions.manifest import VersionBatch, VersionManifest
from embedding_assets.versions.version_files import VersionFile
from embedding_assets_tests.deltas import NOON

INDEX, GRAPH = "records.arrow", "graph/link_lists.bin"


def name(number: int) -> str:
    """The name of the version of one epoch."""
    return f"{number}-{number:012x}"


def key(number: int, path: str = INDEX) -> str:
    """Key of a version's own file."""
    return version_prefix(LINES, name(number)) + path


def batch(batch_id: str, generation: int = 0, delta: str | None = "") -> VersionBatch:
    """The account of one batch; by default each generation has a delta of its own."""
    delta_key = f"{delta_prefix(LINES)}{batch_id}-{generation}/" if delta == "" else delta
    return VersionBatch(
        batch_id=batch_id,
        generation=generation,
        status=Status.COMPLETED,
        embedded=1,
        failed=0,
        unfinished=0,
        delta_key=delta_key,
    )


def version(
    number: int,
    parent: VersionManifest | None,
    keys: Sequence[str],
    created: datetime = NOON,
    batches: Iterable[VersionBatch] = (),
    **values: Any,
) -> VersionManifest:
    """One version on its parent, with the files of `keys`."""
    prefix = len(version_prefix(LINES, name(number)))
    return VersionManifest(
        version=name(number),
        database="lines",
        collection="lines",
        execution_id="20260102T120000Z-00000000",
        parent=parent.version if parent else None,
        epoch=number,
        commit_id=f"commit {number}",
        created_at=format_instant(created),
        model=None,
        dimensions=8,
        space="l2",
        chroma_version="1.5.9",
        total_embeddings=1,
        content_digest=f"digest {number}",
        files=tuple(VersionFile(path=one[prefix:], size=1, sha256="0" * 64, key=one) for one in keys),
        batches=tuple(batches),
        **values,
    )


def rolled_back(number: int, current: VersionManifest, target: VersionManifest, **values: Any) -> VersionManifest:
    """A rollback as the product makes it: the target's files and content, no batches of its own."""
    return target.model_copy(
        update={
            "version": name(number),
            "epoch": number,
            "parent": current.version,
            "rolled_back_to": target.version,
            "batches": (),
            **values,
        }
    )


def stored(stored_key: str, modified: datetime = NOON, size: int = 1) -> StoredObject:
    """A listed object."""
    return StoredObject(stored_key, size, modified)


def hours(number: float) -> timedelta:
    """So many hours."""
    return timedelta(hours=number)
