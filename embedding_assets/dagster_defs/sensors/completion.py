"""The sensor that marks batches once the final snapshot materializes.

An `@asset_sensor` sees only the latest event between two ticks; this one pages all of them. But events only
wake it: what is marked is read from the published chain, so a missed event loses nothing.
"""

import dagster as dg
from dagster import AssetRecordsFilter, DagsterInstance

from embedding_assets.dagster_defs.assets.boundary import without_secrets_in_dagster
from embedding_assets.dagster_defs.resources import ServicesResource
from embedding_assets.dagster_defs.runs.marking import mark_and_tell
from embedding_assets.databases import Database
from embedding_assets.errors import TargetError

INTERVAL_SECONDS = 30
PAGE = 100


def completion_sensor(database: Database, interval_seconds: int = INTERVAL_SECONDS) -> dg.SensorDefinition:
    """Marks every batch that a published version accounts for and that is still live."""

    @dg.sensor(
        name=f"{database.name}_completion",
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=interval_seconds,
        description=(
            f"Marks the batches of {database.name} COMPLETED (or EXPIRED, CANCELLED) from the manifests of the "
            "published versions, and repairs what an earlier crash left unmarked."
        ),
    )
    @without_secrets_in_dagster
    def completion(context: dg.SensorEvaluationContext, embedding_services: ServicesResource) -> dg.SensorResult:
        events, cursor = _new_materializations(context.instance, database, int(context.cursor or 0))
        try:
            marked = mark_and_tell(embedding_services.services, context.instance, database, context.log.info)
        except TargetError as error:
            context.log.error(str(error))
            return dg.SensorResult(skip_reason=str(error), cursor=context.cursor)
        if not marked:
            reason = f"{events} new materializations of the final snapshot, no batch left to mark"
            return dg.SensorResult(skip_reason=reason, cursor=str(cursor))
        context.log.info(f"marked {len(marked)} batches after {events} new materializations")
        return dg.SensorResult(skip_reason=f"marked {len(marked)} batches", cursor=str(cursor))

    return completion


def _new_materializations(instance: DagsterInstance, database: Database, after: int) -> tuple[int, int]:
    """How many materializations there are after the storage id `after`, all pages, and the newest one's id."""
    count = 0
    page_cursor: str | None = None
    records = AssetRecordsFilter(asset_key=dg.AssetKey([database.name, "final_snapshot"]), after_storage_id=after)
    while True:
        page = instance.fetch_materializations(records, limit=PAGE, cursor=page_cursor, ascending=True)
        count += len(page.records)
        after = max([after, *(record.storage_id for record in page.records)])
        if not page.has_more:
            return count, after
        page_cursor = page.cursor
