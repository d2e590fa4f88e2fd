"""What is published now, reported to Dagster by whatever published it without a run of the ingest job."""

from __future__ import annotations

from dagster import AssetMaterialization, DagsterInstance, MetadataValue

from embedding_assets.dagster_defs.history import versions_picture
from embedding_assets.databases import Database
from embedding_assets.services import Services
from embedding_assets.versions.manifest import VersionManifest, read_pointer


def report_published(services: Services, instance: DagsterInstance, database: Database, why: str) -> None:
    """Report the published version, if there is one, as an event of `final_snapshot` without a partition."""
    pointer = read_pointer(services.store, database)
    if pointer is not None:
        event = published_event(services, database, pointer.manifest, why)
        picture = versions_picture(instance, event.asset_key, event.metadata)
        instance.report_runless_asset_event(event.with_metadata({**event.metadata, "versions": picture}))


def published_event(
    services: Services, database: Database, published: VersionManifest, why: str
) -> AssetMaterialization:
    """The published version, with the names that the merge of an execution gives its figures."""
    metadata: dict[str, MetadataValue] = {
        "published_now": MetadataValue.md(published_line(published)),
        "snapshot_version": MetadataValue.text(published.version),
        "total_embeddings": MetadataValue.int(published.total_embeddings),
        "bytes": MetadataValue.int(published.size),
        "dagster/row_count": MetadataValue.int(published.total_embeddings),
    }
    if published.rolled_back_to:
        metadata["rolled_back_to"] = MetadataValue.text(published.rolled_back_to)
    if published.withdrawn:
        metadata["withdrawn"] = MetadataValue.json(list(published.withdrawn))
    line = f"{why}: version {published.version}, {published.total_embeddings} embeddings"
    return AssetMaterialization(asset_key=[database.name, "final_snapshot"], description=line, metadata=metadata)


def published_line(published: VersionManifest) -> str:
    """Markdown: what is published now."""
    again = f", the content of {published.rolled_back_to} again" if published.rolled_back_to else ""
    return f"**Version {published.version}**, {published.total_embeddings} embeddings{again}"
