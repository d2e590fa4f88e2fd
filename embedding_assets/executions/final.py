"""The final merge: under the lock, build the next version on the published one, verify it, publish it.

Promise: what was published stays unless a later submission replaces it; every id of the intermediates is in the
new version; no reader sees half of it; merging the same again finds the version that was published for it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from embedding_assets.bucket.keys import latest_prefix
from embedding_assets.chroma.collection import CHROMA_VERSION
from embedding_assets.chroma.row_source import RowSource
from embedding_assets.errors import (
    ConservationError,
    MismatchError,
    PreconditionError,
    TransientError,
)
from embedding_assets.executions.accounting import (
    check_complete,
    inputs_digest,
    refuse_withdrawn,
    still_withdrawn,
    version_batch,
    without,
    without_embedding,
)
from embedding_assets.executions.already_published import LOOKED_AT_UNDER_THE_LOCK, already_published
from embedding_assets.executions.build import BuiltVersion, VersionBuilder
from embedding_assets.executions.changes import Changes, compare
from embedding_assets.executions.deletions import deletions_of, with_deletions
from embedding_assets.executions.fold import keys_of, same_dimensions
from embedding_assets.executions.guard import configured_otherwise, same_model
from embedding_assets.executions.intermediate import IntermediateSnapshots, open_intermediates
from embedding_assets.executions.result import FinalMergeResult
from embedding_assets.executions.write_index import DEFAULT_POLICY, IndexPolicy, Written
from embedding_assets.ledger.locks import MergeLock
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.rows.record_index import CARRIED, alive, digest_of
from embedding_assets.versions.base_cache import BaseCache
from embedding_assets.versions.changes_file import changed_records, write_changes
from embedding_assets.versions.manifest import ChangesFile, Pointer, VersionManifest, new_version, read_pointer
from embedding_assets.versions.next_version import Account, Content, Difference, Withdrawn, next_manifest
from embedding_assets.versions.published_by import published_by
from embedding_assets.versions.publisher import PublishingTask

REBASES = 5
"""How often a merge begins again on a version that was published meanwhile."""


@dataclass(frozen=True)
class _Outcome:
    """The version that answers a merge, and what the merge was against the one before."""

    manifest: VersionManifest
    added: int = 0
    updated: int = 0
    removed: int = 0
    unchanged: int = 0
    written: Written | None = None


@dataclass(frozen=True)
class _Merge:
    """One merge under way: the batches it accounts for, what they were folded to, when it got the lock.

    `without_embedding` are the changes that are failed or unfinished requests.
    """

    accounted: Sequence[PollResult]
    snapshots: IntermediateSnapshots
    lock: MergeLock
    started: float
    without_embedding: pa.Table


@dataclass(frozen=True)
class FinalMerger(PublishingTask):
    """Merges executions of one database into its next version."""

    policy: IndexPolicy = DEFAULT_POLICY
    cache: BaseCache | None = None

    def merge(self, results: Sequence[PollResult], snapshots: IntermediateSnapshots) -> FinalMergeResult:
        """Publish what `snapshots` hold and return what is published then.

        `results` are the execution's poll results: which batches the version accounts for. Raises
        ConservationError, MismatchError, DamagedError, WithdrawnError, LockError or TransientError; then
        nothing is published.
        """
        started = time.monotonic()
        accounted = [result for result in results if result.publishes]
        if not accounted:
            pointer = read_pointer(self.store, self.database)
            outcome = _Outcome(pointer.manifest) if pointer else None
            return self._result(snapshots.execution_id, outcome, started)
        check_complete(accounted, snapshots)
        purpose = snapshots.execution_id
        failures = without_embedding(self.store, accounted)
        with self.publisher.publication_lock(purpose) as held:
            pointer = held.pointer
            merge = _Merge(accounted, snapshots, held.lock, time.monotonic(), failures)
            for _ in range(REBASES):
                try:
                    outcome = self._published(merge, pointer) or self._next(merge, pointer)
                except PreconditionError as error:
                    self.progress(f"{error}; building on that one")
                    pointer = self.publisher.trusted_pointer()
                    continue
                return self._result(snapshots.execution_id, outcome, started, accounted)
        raise TransientError(f"another version of {self.database.name} was published {REBASES} times meanwhile")

    def _published(self, merge: _Merge, pointer: Pointer | None) -> _Outcome | None:
        """The version that this very execution with these very poll results published."""
        if pointer is None:
            return None
        execution_id, wanted = merge.snapshots.execution_id, inputs_digest(merge.accounted)
        manifest = published_by(self.store, self.database, pointer, execution_id, wanted)
        if manifest is None:
            return None
        return _Outcome(manifest, manifest.added, manifest.updated, manifest.removed, manifest.unchanged)

    def _next(self, merge: _Merge, base: Pointer | None) -> _Outcome:
        """Build on `base` and publish; return `base` if there is neither a change nor a batch to mark."""
        out = still_withdrawn(self.store, self.database, base.manifest if base else None, self.progress)
        refuse_withdrawn(merge.accounted, out)
        version = new_version(merge.lock.epoch)
        with tempfile.TemporaryDirectory(prefix="embedding-assets-final-") as name:
            folder = Path(name)
            sources = open_intermediates(self.store, merge.snapshots.intermediates, folder / "parts")
            self._check_fits(merge.accounted, sources, base)
            rows = self.ledger.get_many(result.batch_id for result in merge.accounted)
            stale = {
                result.batch_id
                for result in merge.accounted
                if result.batch_id in rows and rows[result.batch_id].generation > result.generation
            }
            builder = self._builder(base, folder)
            incoming = with_deletions(keys_of(sources, more=CARRIED), deletions_of(self.store, merge.accounted))
            left_out = self._left_out(merge, base, builder)
            changes = compare(incoming, builder.base_index(), stale, left_out)
            to_mark = any(
                result.batch_id in rows
                and rows[result.batch_id].status.live
                and rows[result.batch_id].generation == result.generation
                for result in merge.accounted
            )
            if base is not None and not (changes.changed or changes.index_changed or to_mark):
                return _Outcome(base.manifest, unchanged=changes.unchanged)
            self.progress(
                f"{changes.added} to add, {changes.updated} to update, {len(changes.removed)} to remove, "
                f"{changes.unchanged} unchanged "
                f"on version {base.manifest.version if base else 'none'}"
            )
            built = builder.build(version, sources, changes, merge.lock.check)
            self.progress(f"built and verified {built.size:,} bytes, {len(built.uploads)} files to upload")
            changed = changed_records(builder.base_index(), changes.index)
            listed = pa.concat_tables([merge.without_embedding, changed])
            file = write_changes(self.store, self.database, version, listed)
            manifest = self._manifest(version, merge, changes, base, built, without(out, merge.accounted), file)
            merge.lock.check()
            self.store.upload_files(built.uploads)
            merge.lock.check()
            self.publisher.publish(manifest, base, merge.lock, built.directory)
            if self.cache is not None and self.shared is None:
                self.cache.keep(manifest, built.directory, self.progress)
        removed = len(changes.removed)
        return _Outcome(manifest, changes.added, changes.updated, removed, changes.unchanged, built.written)

    def _builder(self, base: Pointer | None, folder: Path) -> VersionBuilder:
        published = base.manifest if base else None
        nearer = self.shared or self.cache
        nearby = nearer.directory(published.version) if nearer and published else None
        return VersionBuilder(self.store, self.database, published, folder, nearby, self.progress, self.policy)

    def _left_out(self, merge: _Merge, base: Pointer | None, builder: VersionBuilder) -> set[str]:
        """The batches that were not folded since all is published; TransientError if it is not any more."""
        already = [result for result in merge.accounted if result.published_as is not None]
        if not already:
            return set()
        there = set()
        if base is not None:
            index, most = builder.base_index(), LOOKED_AT_UNDER_THE_LOCK
            there = already_published(self.store, self.database, base.manifest, index, already, most)
        for result in already:
            if result.batch_id not in there:
                raise TransientError(
                    f"batch {result.batch_id} was in version {result.published_as} when it was polled, and is not "
                    "published like that any more: its execution has to be planned again"
                )
        return there

    def _check_fits(
        self, accounted: Sequence[PollResult], sources: Sequence[RowSource], base: Pointer | None
    ) -> None:
        dimensions = same_dimensions(sources) if sources else None
        if base is None:
            return
        published = base.manifest
        if None not in (published.dimensions, dimensions) and published.dimensions != dimensions:
            raise MismatchError(
                f"the embeddings have {dimensions} dimensions, version {published.version} {published.dimensions}"
            )
        otherwise = configured_otherwise(self.database, published)
        if otherwise is not None:
            raise MismatchError(otherwise)
        for result in accounted:
            if result.has_delta and not same_model(result.model, published.model):
                raise MismatchError(
                    f"batch {result.batch_id} is of {result.model}, "
                    f"version {published.version} of {published.model}"
                )

    def _manifest(
        self,
        version: str,
        merge: _Merge,
        changes: Changes,
        base: Pointer | None,
        built: BuiltVersion,
        withdrawn: Withdrawn,
        file: ChangesFile,
    ) -> VersionManifest:
        published = base.manifest if base else None
        models = [result.model for result in merge.accounted if result.model]
        total = alive(changes.index).num_rows
        before = published.total_embeddings if published else 0
        removed = len(changes.removed)
        if total != before + changes.added - removed:
            raise ConservationError(
                f"{before} published + {changes.added} added - {removed} removed gave {total} records"
            )
        content = Content(
            collection=self.database.collection,
            model=(published.model if published else None) or next(iter(models), None),
            dimensions=built.dimensions,
            space=self.database.space,
            chroma_version=CHROMA_VERSION,
            total_embeddings=total,
            content_digest=digest_of(changes.index),
            files=built.files,
            graph=built.graph_after(published),
        )
        account = Account(
            difference=Difference(changes.added, changes.updated, removed, changes.unchanged),
            withdrawn=withdrawn,
            batches=tuple(version_batch(result) for result in merge.accounted),
            inputs_digest=inputs_digest(merge.accounted),
            changes=file,
        )
        seconds = time.monotonic() - merge.started
        execution_id = merge.snapshots.execution_id
        return next_manifest(
            self.database, published, version, merge.lock.epoch, execution_id, content, account, seconds
        )

    def _result(
        self,
        execution_id: str,
        outcome: _Outcome | None,
        started: float,
        accounted: Sequence[PollResult] = (),
    ) -> FinalMergeResult:
        manifest = outcome.manifest if outcome else None
        return FinalMergeResult(
            execution_id=execution_id,
            snapshot_key=latest_prefix(self.database),
            snapshot_version=manifest.version if manifest else None,
            total_embeddings=manifest.total_embeddings if manifest else 0,
            added=outcome.added if outcome else 0,
            updated=outcome.updated if outcome else 0,
            removed=outcome.removed if outcome else 0,
            unchanged=outcome.unchanged if outcome else 0,
            processing_time_seconds=round(time.monotonic() - started, 3),
            batches=tuple(result.batch_id for result in accounted),
            content_digest=manifest.content_digest if manifest else None,
            size=manifest.size if manifest else 0,
            writer=manifest.writer if manifest else None,
            recall=manifest.recall if manifest else None,
            nodes=manifest.nodes if manifest else None,
            writer_reason=outcome.written.reason if outcome and outcome.written else None,
        )
