"""The final merge: under the lock, build the next version on the published one, verify it, publish it.

Promise: what was published stays unless a later submission replaces it; every id of the intermediates is in the
new version; no reader sees half of it; merging the same again finds the version that was published for it.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import chromadb
from pydantic import BaseModel, ConfigDict

from embedding_assets.databases import Database
from embedding_assets.errors import ConservationError, MismatchError, PreconditionError, TransientError
from embedding_assets.ledger.batch_summary import format_instant, parse_instant
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.ledger.lock import MergeLock
from embedding_assets.merge.build import BuiltVersion, VersionBuilder
from embedding_assets.merge.changes import Changes, compare
from embedding_assets.merge.fold import keys_of, same_dimensions
from embedding_assets.merge.guard import same_model
from embedding_assets.merge.intermediate import IntermediateSnapshots, open_intermediates
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.snapshots.index import CARRIED, alive, digest_of
from embedding_assets.snapshots.publish import commit, fence
from embedding_assets.snapshots.sources import RowSource
from embedding_assets.snapshots.store import Store
from embedding_assets.snapshots.versions import (
    Pointer,
    VersionBatch,
    VersionManifest,
    chain,
    read_pointer,
)

REBASES = 5
"""How often a merge begins again on a version that was published meanwhile."""

CLOCKS_APART = timedelta(days=1)
"""A version so much older than an execution's plan cannot be of it, however far the clocks are apart."""

Tell = Callable[[str], None]


class FinalMergeResult(BaseModel):
    """What an execution published, or found published. `snapshot_version` is None where nothing ever was."""

    model_config = ConfigDict(frozen=True)

    execution_id: str
    snapshot_key: str
    snapshot_version: str | None
    total_embeddings: int
    added: int
    updated: int
    unchanged: int
    processing_time_seconds: float
    batches: tuple[str, ...]
    content_digest: str | None = None
    size: int = 0


@dataclass(frozen=True)
class _Outcome:
    """The version that answers a merge, and what the merge was against the one before."""

    manifest: VersionManifest
    added: int
    updated: int
    unchanged: int


@dataclass(frozen=True)
class FinalMerger:
    """Merges executions of one database into its next version."""

    store: Store
    ledger: Ledger
    database: Database
    lease_seconds: float
    tell: Tell = lambda message: None

    def merge(self, results: Sequence[PollResult], snapshots: IntermediateSnapshots) -> FinalMergeResult:
        """Publish what `snapshots` hold and return what is published then.

        `results` are the execution's poll results: which batches the version accounts for. Raises
        ConservationError, MismatchError, DamagedError, LockError or TransientError; then nothing is published.
        """
        started = time.monotonic()
        accounted = [result for result in results if result.has_delta]
        if not accounted:
            pointer = read_pointer(self.store, self.database)
            outcome = _Outcome(pointer.manifest, 0, 0, 0) if pointer else None
            return self._result(snapshots.execution_id, outcome, started)
        _check_complete(accounted, snapshots)
        with self._lock(snapshots.execution_id) as lock:
            pointer = read_pointer(self.store, self.database)
            if lock.taken_over and pointer is not None:
                pointer = fence(self.store, self.database, pointer, lock.epoch)
            for _ in range(REBASES):
                try:
                    outcome = self._published(accounted, snapshots, pointer) or self._next(
                        accounted, snapshots, pointer, lock
                    )
                except PreconditionError as error:
                    self.tell(f"{error}; building on that one")
                    pointer = read_pointer(self.store, self.database)
                    continue
                return self._result(snapshots.execution_id, outcome, started, accounted)
        raise TransientError(f"another version of {self.database.name} was published {REBASES} times meanwhile")

    def _lock(self, execution_id: str) -> MergeLock:
        def floor() -> int:
            pointer = read_pointer(self.store, self.database)
            return pointer.epoch if pointer else 0

        return MergeLock(
            self.ledger.client,
            self.ledger.table,
            self.database.name,
            execution_id=execution_id,
            lease_seconds=self.lease_seconds,
            epoch_floor=floor,
            on_wait=self.tell,
        )

    def _published(
        self, accounted: Sequence[PollResult], snapshots: IntermediateSnapshots, pointer: Pointer | None
    ) -> _Outcome | None:
        """The version of the chain that this very execution with these very poll results published."""
        if pointer is None:
            return None
        wanted = inputs_digest(accounted)
        planned = _planned_at(snapshots.execution_id)
        for manifest in chain(self.store, self.database, pointer.manifest):
            if planned is not None and parse_instant(manifest.created_at) < planned - CLOCKS_APART:
                return None
            if manifest.execution_id == snapshots.execution_id and manifest.inputs_digest == wanted:
                return _Outcome(manifest, manifest.added, manifest.updated, manifest.unchanged)
        return None

    def _next(
        self,
        accounted: Sequence[PollResult],
        snapshots: IntermediateSnapshots,
        base: Pointer | None,
        lock: MergeLock,
    ) -> _Outcome:
        """Build on `base` and publish; return `base` where there is neither a change nor a batch to mark."""
        version = f"{lock.epoch}-{uuid.uuid4().hex[:12]}"
        with tempfile.TemporaryDirectory(prefix="embedding-assets-final-") as name:
            folder = Path(name)
            sources = open_intermediates(self.store, snapshots.intermediates, folder / "parts")
            self._check_fits(accounted, sources, base)
            rows = self.ledger.get_many(result.batch_id for result in accounted)
            stale = {
                result.batch_id
                for result in accounted
                if result.batch_id in rows and rows[result.batch_id].generation > result.generation
            }
            builder = VersionBuilder(self.store, self.database, base.manifest if base else None, folder)
            changes = compare(keys_of(sources, more=CARRIED), builder.base_index(), stale)
            to_mark = any(
                result.batch_id in rows
                and rows[result.batch_id].status.live
                and rows[result.batch_id].generation == result.generation
                for result in accounted
            )
            if base is not None and not (changes.changed or changes.index_changed or to_mark):
                return _Outcome(base.manifest, 0, 0, changes.unchanged)
            self.tell(
                f"{changes.added} to add, {changes.updated} to update, {changes.unchanged} unchanged "
                f"on version {base.manifest.version if base else 'none'}"
            )
            built = builder.build(version, sources, changes, lock.check)
            self.tell(f"built and verified {built.size:,} bytes, {len(built.uploads)} files to upload")
            manifest = self._manifest(version, accounted, snapshots, changes, base, lock.epoch, built)
            lock.check()
            self.store.upload_files(built.uploads)
        lock.check()
        commit(self.store, self.database, manifest, base)
        self.tell(f"published version {version}: {manifest.total_embeddings} embeddings")
        return _Outcome(manifest, changes.added, changes.updated, changes.unchanged)

    def _check_fits(
        self, accounted: Sequence[PollResult], sources: Sequence[RowSource], base: Pointer | None
    ) -> None:
        dimensions = same_dimensions(sources)
        if base is None:
            return
        published = base.manifest
        if published.dimensions is not None and published.dimensions != dimensions:
            raise MismatchError(
                f"the embeddings have {dimensions} dimensions, version {published.version} {published.dimensions}"
            )
        if published.space != self.database.space:
            raise MismatchError(
                f"{self.database.name} is configured for {self.database.space}, version {published.version} has "
                f"{published.space}"
            )
        for result in accounted:
            if not same_model(result.model, published.model):
                raise MismatchError(
                    f"batch {result.batch_id} is of {result.model}, "
                    f"version {published.version} of {published.model}"
                )

    def _manifest(
        self,
        version: str,
        accounted: Sequence[PollResult],
        snapshots: IntermediateSnapshots,
        changes: Changes,
        base: Pointer | None,
        epoch: int,
        built: BuiltVersion,
    ) -> VersionManifest:
        models = [result.model for result in accounted if result.model]
        total = alive(changes.index).num_rows
        before = base.manifest.total_embeddings if base else 0
        if total != before + changes.added:
            raise ConservationError(f"{before} published + {changes.added} added gave {total} records")
        return VersionManifest(
            version=version,
            database=self.database.name,
            collection=self.database.collection,
            execution_id=snapshots.execution_id,
            parent=base.manifest.version if base else None,
            epoch=epoch,
            commit_id=uuid.uuid4().hex,
            created_at=format_instant(datetime.now(UTC)),
            model=(base.manifest.model if base else None) or next(iter(models), None),
            dimensions=built.dimensions,
            space=self.database.space,
            chroma_version=chromadb.__version__,
            total_embeddings=total,
            content_digest=digest_of(changes.index),
            files=built.files,
            batches=tuple(_version_batch(result) for result in accounted),
            withdrawn=_still_withdrawn(base, accounted),
            fence=epoch,
            inputs_digest=inputs_digest(accounted),
            added=changes.added,
            updated=changes.updated,
            unchanged=changes.unchanged,
            writer="chroma",
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
            snapshot_key=self.database.latest_prefix,
            snapshot_version=manifest.version if manifest else None,
            total_embeddings=manifest.total_embeddings if manifest else 0,
            added=outcome.added if outcome else 0,
            updated=outcome.updated if outcome else 0,
            unchanged=outcome.unchanged if outcome else 0,
            processing_time_seconds=round(time.monotonic() - started, 3),
            batches=tuple(result.batch_id for result in accounted),
            content_digest=manifest.content_digest if manifest else None,
            size=manifest.size if manifest else 0,
        )


def _planned_at(execution_id: str) -> datetime | None:
    """When an execution was planned, as its id tells it."""
    try:
        return datetime.strptime(execution_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def inputs_digest(accounted: Sequence[PollResult]) -> str:
    """What tells whether two merges of an execution are about the same poll results."""
    parts = sorted(
        f"{result.batch_id} {result.generation} {result.delta_key} {result.final_status} {result.embedding_count}"
        f" {result.failed_count} {result.unfinished_count}"
        for result in accounted
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _check_complete(accounted: Sequence[PollResult], snapshots: IntermediateSnapshots) -> None:
    """What was polled came into chunks, what came out of the chunks into groups, and all of that is merged."""
    execution_id = snapshots.execution_id
    polled = sum(result.embedding_count for result in accounted)
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


def _version_batch(result: PollResult) -> VersionBatch:
    status = result.final_status
    if status is None:
        raise ConservationError(f"batch {result.batch_id} is not finished, yet has a delta")
    return VersionBatch(
        batch_id=result.batch_id,
        generation=result.generation,
        status=status,
        embedded=result.embedding_count,
        failed=result.failed_count,
        unfinished=result.unfinished_count,
    )


def _still_withdrawn(base: Pointer | None, accounted: Sequence[PollResult]) -> tuple[str, ...]:
    back = {result.batch_id for result in accounted}
    return tuple(batch_id for batch_id in (base.manifest.withdrawn if base else ()) if batch_id not in back)
