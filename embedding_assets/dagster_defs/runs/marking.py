"""Marking, reported to Dagster: each batch that got its final status is an observation of `batches`.

A materialization would make what was polled from the batch look out of date ("Unsynced").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dagster import AssetObservation, DagsterInstance, MetadataValue

from embedding_assets.bucket.keys import batch_key
from embedding_assets.dagster_defs.runs.event_batches import report_together
from embedding_assets.databases import Database
from embedding_assets.errors import InputError, LockError, ServiceError, SettingsError, TargetError, TransientError
from embedding_assets.ledger.batch_summary import BatchSummary
from embedding_assets.operations.costs import cost_of
from embedding_assets.progress import Progress
from embedding_assets.services import Services
from embedding_assets.telemetry import telemetry
from embedding_assets.versions.manifest import VersionManifest
from embedding_assets.versions.mark import Report, mark_chain, waiting_for_marks
from embedding_assets.versions.witnesses import trusted_pointer


def mark_and_tell(
    services: Services, instance: DagsterInstance, database: Database, progress: Progress
) -> list[BatchSummary]:
    """Mark what the published chain accounts for; return the rows that this call marked."""

    def report(rows: Sequence[BatchSummary]) -> None:
        report_together(instance, [marked_event(services, database, row) for row in rows])

    return mark(services, database, progress, report)


def mark(
    services: Services, database: Database, progress: Progress, report: Report = lambda rows: None
) -> list[BatchSummary]:
    """Mark, give `report` what has its final status now, and return the rows that this call marked.

    Then see to it that the shared root shows the pointer's version; a failure there is reported and stops nothing.
    Raises LostPointerError, and marks nothing, if the pointer is behind what the table knows; TargetError if a
    target does not get the version: its batches are marked once every target has it.
    """
    pointer = trusted_pointer(services.store, services.ledger, database)
    if pointer is None:
        return []
    bring_targets(services, database, pointer.manifest, progress)
    rows = mark_chain(services.store, services.ledger, database, pointer.manifest, report)
    _record(services, database, rows)
    try:
        shared = services.shared_versions(database)
    except SettingsError as error:
        progress(f"warning: {error}")
    else:
        if shared is not None:
            shared.ensure(pointer.manifest, progress)
    return rows


def _record(services: Services, database: Database, rows: Sequence[BatchSummary]) -> None:
    """What the marked batches cost."""
    if not rows:
        return
    meter = telemetry()
    meter.record("embedding_assets.batches.marked", len(rows), database=database.name)
    meter.record("embedding_assets.tokens", sum(row.token_count or 0 for row in rows), database=database.name)
    meter.record("embedding_assets.cost", cost_of(rows, services.prices).usd, database=database.name)
    meter.flush()


def bring_targets(services: Services, database: Database, published: VersionManifest, progress: Progress) -> None:
    """Bring every target to what is published. Raises TargetError, after all were tried, if one is not."""
    problems = []
    for target in services.targets:
        sync = services.target_sync(database, target, progress)
        if not sync.is_behind(published):
            continue
        try:
            sync.bring()
        except (TransientError, ServiceError, LockError, InputError) as error:
            problems.append(str(error))
    if problems:
        raise TargetError(f"{'; '.join(problems)}; its batches are marked once every target has the version")


def without_published(
    services: Services, database: Database, batches: Iterable[BatchSummary]
) -> list[BatchSummary]:
    """The batches but for those that are published and only wait for a target: these are not planned again."""
    if not services.targets:
        return list(batches)
    waiting = waiting_for_marks(services.store, services.ledger, database)
    return [batch for batch in batches if (batch.batch_id, batch.generation) not in waiting]


def marked_event(services: Services, database: Database, row: BatchSummary) -> AssetObservation:
    """The row with its final status."""
    return AssetObservation(
        asset_key=[database.name, "batches"],
        partition=row.batch_id,
        metadata={
            "status": MetadataValue.text(row.status.value),
            "snapshot_version": MetadataValue.text(row.snapshot_version or ""),
            "execution_id": MetadataValue.text(row.execution_id or ""),
            "embedded": MetadataValue.int(row.embedded_count or 0),
            "failed": MetadataValue.int(row.failed_count or 0),
            "unfinished": MetadataValue.int(row.unfinished_count or 0),
            "s3_location": MetadataValue.path(services.store.uri(batch_key(row.batch_id))),
        },
    )
