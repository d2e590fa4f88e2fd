"""Importing: the records of another index become part of the next version, without a call to OpenAI.

Promise: under the same lock, verification and commit as every version. A record that was submitted later, or
deleted later, stays as it is. Importing the same again publishes nothing.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from embedding_assets.chroma.collection import CHROMA_VERSION
from embedding_assets.errors import ConservationError, InputError
from embedding_assets.executions.build import BuiltVersion, VersionBuilder
from embedding_assets.executions.changes import Changes, compare
from embedding_assets.executions.fold import keys_of
from embedding_assets.executions.guard import configured_otherwise, same_model
from embedding_assets.executions.write_index import DEFAULT_POLICY, IndexPolicy
from embedding_assets.ledger.locks import MergeLock
from embedding_assets.rows.record_index import CARRIED, alive, digest_of
from embedding_assets.upkeep.import_rows import ImportedRows
from embedding_assets.versions.changes_file import changed_records, write_changes
from embedding_assets.versions.manifest import ChangesFile, Pointer, VersionManifest, new_version
from embedding_assets.versions.next_version import Account, Content, Difference, Withdrawn, next_manifest
from embedding_assets.versions.publisher import PublishingTask


@dataclass(frozen=True)
class Imported:
    """What an import did, or would do: `manifest` is published then, None if nothing was ever published."""

    manifest: VersionManifest | None
    added: int
    updated: int
    unchanged: int


@dataclass(frozen=True)
class SnapshotImport(PublishingTask):
    """Publishes imported records of one database."""

    policy: IndexPolicy = DEFAULT_POLICY

    def look(self, rows: ImportedRows) -> Imported:
        """What `run` would do now; nothing is written."""
        base = self.publisher.trusted_pointer()
        self._check_fits(rows, base)
        with tempfile.TemporaryDirectory(prefix="embedding-assets-import-") as name:
            changes = self._changes(rows, self._builder(base, Path(name)))
        return _imported(base.manifest if base else None, changes)

    def run(self, rows: ImportedRows) -> Imported:
        """Publish the records. Raises InputError if they do not fit what is published, or LockError."""
        with self.publisher.publication_lock(rows.name) as held:
            started = time.monotonic()
            base = held.pointer
            self._check_fits(rows, base)
            with tempfile.TemporaryDirectory(prefix="embedding-assets-import-") as name:
                builder = self._builder(base, Path(name))
                changes = self._changes(rows, builder)
                if not changes.changed:
                    return _imported(base.manifest if base else None, changes)
                version = new_version(held.lock.epoch)
                built = builder.build(version, [rows.source], changes, held.lock.check)
                self.progress(f"built and verified {built.size:,} bytes, {len(built.uploads)} files to upload")
                listed = changed_records(builder.base_index(), changes.index)
                file = write_changes(self.store, self.database, version, listed)
                manifest = self._manifest(version, rows, changes, base, built, file, held.lock, started)
                held.lock.check()
                self.store.upload_files(built.uploads)
                held.lock.check()
                self.publisher.publish(manifest, base, held.lock, built.directory)
        return _imported(manifest, changes)

    def _builder(self, base: Pointer | None, folder: Path) -> VersionBuilder:
        published = base.manifest if base else None
        nearby = self.shared.directory(published.version) if self.shared and published else None
        return VersionBuilder(self.store, self.database, published, folder, nearby, self.progress, self.policy)

    @staticmethod
    def _changes(rows: ImportedRows, builder: VersionBuilder) -> Changes:
        return compare(keys_of([rows.source], more=CARRIED), builder.base_index())

    def _check_fits(self, rows: ImportedRows, base: Pointer | None) -> None:
        if base is None:
            return
        published = base.manifest
        dimensions = rows.source.dimensions
        if published.dimensions is not None and published.dimensions != dimensions:
            raise InputError(
                f"the imported vectors have {dimensions} dimensions, "
                f"version {published.version} {published.dimensions}"
            )
        if not same_model(rows.model.model, published.model):
            raise InputError(
                f"the imported vectors are of {rows.model.model}, "
                f"version {published.version} of {published.model}; --model names another one"
            )
        otherwise = configured_otherwise(self.database, published)
        if otherwise is not None:
            raise InputError(otherwise)

    def _manifest(
        self,
        version: str,
        rows: ImportedRows,
        changes: Changes,
        base: Pointer | None,
        built: BuiltVersion,
        file: ChangesFile,
        lock: MergeLock,
        started: float,
    ) -> VersionManifest:
        published = base.manifest if base else None
        total = alive(changes.index).num_rows
        before = published.total_embeddings if published else 0
        if total != before + changes.added:
            raise ConservationError(f"{before} published + {changes.added} added gave {total} records")
        content = Content(
            collection=self.database.collection,
            model=(published.model if published else None) or rows.model.model,
            dimensions=built.dimensions,
            space=self.database.space,
            chroma_version=CHROMA_VERSION,
            total_embeddings=total,
            content_digest=digest_of(changes.index),
            files=built.files,
            graph=built.graph_after(published),
        )
        out = Withdrawn(published.withdrawn, published.withdrawn_generations) if published else Withdrawn()
        account = Account(
            difference=Difference(changes.added, changes.updated, 0, changes.unchanged),
            withdrawn=out,
            changes=file,
        )
        seconds = time.monotonic() - started
        return next_manifest(self.database, published, version, lock.epoch, rows.name, content, account, seconds)


def _imported(manifest: VersionManifest | None, changes: Changes) -> Imported:
    return Imported(manifest, changes.added, changes.updated, changes.unchanged)
