"""Marking, told to Dagster: each batch that got its final status is a new materialization of `batches`."""

from __future__ import annotations

from dagster import AssetMaterialization, DagsterInstance, MetadataValue

from embedding_assets.databases import Database
from embedding_assets.ledger.batch_summary import BatchSummary
from embedding_assets.merge.mark import mark_published
from embedding_assets.openai_batches.poll import batch_key
from embedding_assets.services import Services


def mark_and_tell(services: Services, instance: DagsterInstance, database: Database) -> list[BatchSummary]:
    """Mark what the published chain accounts for; return the rows that this call marked."""
    rows = mark_published(services.store, services.ledger, database)
    for row in rows:
        instance.report_runless_asset_event(marked_event(services, database, row))
    return rows


def marked_event(services: Services, database: Database, row: BatchSummary) -> AssetMaterialization:
    """The row with its final status."""
    return AssetMaterialization(
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
