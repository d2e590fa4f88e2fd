"""Publishing a rebuilt version: nothing of the one before is used but its place in the chain."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from embedding_assets.chroma.collection import CHROMA_VERSION
from embedding_assets.chroma.row_source import RowSource
from embedding_assets.errors import ConservationError
from embedding_assets.executions.build import VersionBuilder
from embedding_assets.executions.changes import Changes
from embedding_assets.executions.write_index import IndexPolicy
from embedding_assets.ledger.locks import MergeLock
from embedding_assets.rows.record_index import alive, digest_of
from embedding_assets.versions.changes_file import changed_records, write_changes
from embedding_assets.versions.manifest import Pointer, VersionBatch, VersionManifest, new_version
from embedding_assets.versions.next_version import Account, Content, Difference, Withdrawn, next_manifest
from embedding_assets.versions.publisher import PublishingTask
from embedding_assets.versions.reader import published_index


@dataclass(frozen=True)
class RebuiltRecords:
    """What is to be published: rows, each id once, and the record index that they and the tombstones make."""

    sources: Sequence[RowSource]
    index: pa.Table
    model: str | None
    batches: tuple[VersionBatch, ...] = ()


@dataclass(frozen=True)
class Rebuild(PublishingTask):
    """Builds, verifies and publishes; to be used by whoever holds the lock."""

    policy: IndexPolicy

    def publish_rebuilt(
        self, rebuilt: RebuiltRecords, base: Pointer, purpose: str, lock: MergeLock
    ) -> VersionManifest:
        """Publish `rebuilt` in place of `base`. Raises PreconditionError if another was published meanwhile.

        Raises ConservationError if the rows are not those of the index.
        """
        started = time.monotonic()
        rows = sum(source.file.count for source in rebuilt.sources)
        total = alive(rebuilt.index).num_rows
        if rows != total:
            raise ConservationError(f"{rows} rows were rebuilt, the record index has {total}")
        version = new_version(lock.epoch)
        with tempfile.TemporaryDirectory(prefix="embedding-assets-rebuild-") as name:
            builder = VersionBuilder(self.store, self.database, None, Path(name), None, self.progress, self.policy)
            every = np.ones(rows, dtype=np.bool_)
            ids = tuple(alive(rebuilt.index).column("id").to_pylist())
            changes = Changes(every, ~every, ids, (), 0, rebuilt.index, index_changed=True)
            built = builder.build(version, rebuilt.sources, changes, lock.check)
            self.progress(f"built and verified {built.size:,} bytes, {len(built.uploads)} files to upload")
            before = published_index(self.store, base.manifest)
            content = Content(
                collection=self.database.collection,
                model=rebuilt.model,
                dimensions=built.dimensions or base.manifest.dimensions,
                space=self.database.space,
                chroma_version=CHROMA_VERSION,
                total_embeddings=total,
                content_digest=digest_of(rebuilt.index),
                files=built.files,
                graph=built.graph_after(None),
            )
            account = Account(
                difference=Difference(updated=total),
                withdrawn=Withdrawn(base.manifest.withdrawn, base.manifest.withdrawn_generations),
                batches=rebuilt.batches,
                changes=write_changes(self.store, self.database, version, changed_records(before, rebuilt.index)),
            )
            seconds = time.monotonic() - started
            manifest = next_manifest(
                self.database, base.manifest, version, lock.epoch, purpose, content, account, seconds
            )
            lock.check()
            self.store.upload_files(built.uploads)
            lock.check()
            self.publisher.publish(manifest, base, lock, built.directory)
        return manifest
