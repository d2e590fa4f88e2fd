"""Intermediate snapshots: the deltas of a chunk, or the intermediates of a group, folded into one.

A step does nothing if its output for the same sources and code is already there.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from embedding_assets.bucket.keys import chunk_prefix, group_prefix
from embedding_assets.bucket.store import Store
from embedding_assets.chroma.row_source import ARROW_FILE, RowSource, open_source, pack, source_of
from embedding_assets.databases import Database
from embedding_assets.errors import ConservationError, DamagedError, TransientError
from embedding_assets.executions.fold import fold
from embedding_assets.executions.plan import Chunk, Intermediate
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.processes.concurrency import concurrently
from embedding_assets.rows.arrow import Provenance, RowFile
from embedding_assets.rows.snapshot_directory import (
    FileEntry,
    Format,
    SnapshotManifest,
    download_snapshot,
    fetch_verified,
    find_complete,
    find_manifest,
    list_files,
    upload_snapshot,
)

FOLD_VERSION = "1"
"""Part of every intermediate's source digest: raised when the same sources would give other rows."""


IN_MEMORY_UP_TO = 8 * 2**20
"""Bytes of a delta that is not written to a disk on its way into a chunk: most are of a few hundred records."""


class MergedIntermediate(BaseModel):
    """One intermediate snapshot that is there now.

    `number` is that of the chunk or group, from 0; `reused` says that the snapshot was there before.
    """

    model_config = ConfigDict(frozen=True)

    intermediate_key: str
    number: int = 0
    digest: str
    sources: int
    rows_in: int
    count: int
    size: int
    reused: bool
    processing_time_seconds: float


class IntermediateSnapshots(BaseModel):
    """All intermediate snapshots of an execution: what the final merge takes, and how it came about."""

    model_config = ConfigDict(frozen=True)

    execution_id: str
    intermediates: tuple[Intermediate, ...]
    chunks: tuple[MergedIntermediate, ...] = ()
    groups: tuple[MergedIntermediate, ...] = ()


SourceReader = Callable[[Path], list[RowSource]]


def open_intermediates(store: Store, parts: Sequence[Intermediate], folder: Path) -> list[RowSource]:
    """Bring intermediate snapshots to `folder`, side by side, verified, and open their rows."""
    return concurrently(
        [partial(_open_part, store, part, folder / f"part-{number}") for number, part in enumerate(parts)]
    )


def _open_part(store: Store, part: Intermediate, directory: Path) -> RowSource:
    manifest = download_snapshot(store, part.intermediate_key, directory)
    if manifest is None:
        raise DamagedError(f"{store.uri(part.intermediate_key)}: the intermediate snapshot is unfinished")
    if part.digest is not None and manifest_digest(manifest) != part.digest:
        raise TransientError(f"{part.intermediate_key} was overwritten by another run; merge it again")
    source = open_source(directory, manifest.collection, provenance=None)
    if source.file.count != manifest.count:
        raise ConservationError(
            f"{part.intermediate_key} has {source.file.count} rows, its manifest says {manifest.count}"
        )
    return source


def manifest_digest(manifest: SnapshotManifest) -> str:
    """What tells one content of a snapshot directory from another."""
    return hashlib.sha256(manifest.model_dump_json().encode()).hexdigest()


def _delta_key(result: PollResult) -> str:
    if result.delta_key is None:
        raise ConservationError(f"batch {result.batch_id} has no delta, but is in a chunk")
    return result.delta_key


def _small_arrow(manifest: SnapshotManifest | None) -> FileEntry | None:
    """The one file of an Arrow delta that is small enough to be merged from memory."""
    if manifest is None or manifest.size > IN_MEMORY_UP_TO or len(manifest.files) != 1:
        return None
    (entry,) = manifest.files
    return entry if entry.path == ARROW_FILE else None


@dataclass(frozen=True)
class IntermediateMerger:
    """Merges chunks and groups of one database, and writes them in the configured format."""

    store: Store
    database: Database
    form: Format

    def merge_chunk(self, chunk: Chunk) -> MergedIntermediate:
        """Fold a chunk's deltas; each row gets the provenance that its poll result tells.

        Raises ConservationError if a delta has not as many rows as its poll result says.
        """
        prefix = chunk_prefix(chunk.batch_id, chunk.chunk_index)
        keys = [_delta_key(result) for result in chunk.delta_results]
        manifests = concurrently([partial(find_manifest, self.store, key) for key in keys])
        pairs = list(zip(chunk.delta_results, manifests, strict=True))
        identity = [self._delta_identity(result, manifest) for result, manifest in pairs]
        return self._merge(
            prefix,
            chunk.chunk_index,
            identity,
            lambda folder: concurrently(
                [
                    partial(self._delta, result, manifest, folder / f"delta-{number}")
                    for number, (result, manifest) in enumerate(pairs)
                ]
            ),
        )

    def merge_group(self, execution_id: str, group: int, parts: Sequence[Intermediate]) -> MergedIntermediate:
        """Fold a group's intermediate snapshots."""
        identity = [self._part_identity(part) for part in parts]
        return self._merge(
            group_prefix(execution_id, group),
            group,
            identity,
            lambda folder: open_intermediates(self.store, parts, folder),
        )

    def _delta_identity(self, result: PollResult, manifest: SnapshotManifest | None) -> str:
        key = _delta_key(result)
        content = manifest.model_dump_json() if manifest else self._listing(key)
        return f"{key} {result.batch_id} {result.generation} {result.precedence_at} {content}"

    def _listing(self, prefix: str) -> str:
        """What stands in for a manifest where another program wrote none."""
        return " ".join(f"{entry.key} {entry.size} {entry.last_modified}" for entry in self.store.list(prefix))

    def _part_identity(self, part: Intermediate) -> str:
        manifest = find_manifest(self.store, part.intermediate_key)
        if manifest is None:
            raise DamagedError(f"{self.store.uri(part.intermediate_key)}: the intermediate snapshot is unfinished")
        return f"{part.intermediate_key} {manifest.model_dump_json()}"

    def _delta(self, result: PollResult, manifest: SnapshotManifest | None, directory: Path) -> RowSource:
        if result.precedence_at is None:
            raise DamagedError(f"batch {result.batch_id}: its poll result has no precedence")
        provenance = Provenance(result.batch_id, result.precedence_at, result.generation)
        key = _delta_key(result)
        small = _small_arrow(manifest)
        if small is not None:
            data = fetch_verified(self.store, key + small.path, small)
            source = source_of(RowFile(Path(small.path), data), provenance)
        else:
            download_snapshot(self.store, key, directory)
            source = open_source(directory, result.collection, provenance)
        if source.file.count != result.embedding_count:
            raise ConservationError(
                f"batch {result.batch_id}: its delta has {source.file.count} rows, "
                f"its poll result says {result.embedding_count}"
            )
        return source

    def _merge(
        self, prefix: str, number: int, identity: Sequence[str], sources: SourceReader
    ) -> MergedIntermediate:
        started = time.monotonic()
        digest = hashlib.sha256("\n".join([FOLD_VERSION, self.form, *identity]).encode()).hexdigest()
        there = find_complete(self.store, prefix)
        reused = there is not None and there.sources == digest
        if there is None or not reused:
            there = self._write(prefix, digest, sources)
        return MergedIntermediate(
            intermediate_key=prefix,
            number=number,
            digest=manifest_digest(there),
            sources=len(identity),
            rows_in=there.rows_in or there.count,
            count=there.count,
            size=there.size,
            reused=reused,
            processing_time_seconds=round(time.monotonic() - started, 3),
        )

    def _write(self, prefix: str, digest: str, read: SourceReader) -> SnapshotManifest:
        with tempfile.TemporaryDirectory(prefix="embedding-assets-merge-") as name:
            folder = Path(name)
            sources = read(folder)
            merged = folder / "merged"
            count = fold(sources, merged / ARROW_FILE)
            rows_in = sum(source.file.count for source in sources)
            pack(merged, self.form, self.database.collection)
            manifest = SnapshotManifest(
                format=self.form,
                count=count,
                rows_in=rows_in,
                dimensions=sources[0].dimensions,
                collection=self.database.collection,
                sources=digest,
                files=list_files(merged),
            )
            upload_snapshot(self.store, merged, prefix, manifest)
        return manifest
