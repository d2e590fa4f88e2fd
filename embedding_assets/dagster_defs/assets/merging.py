"""The assets that merge, all by execution: `chunks`, `intermediate_snapshots`, `final_snapshot`."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from embedding_assets.dagster_defs.assets.boundary import RETRIES, dagster_errors, without_secrets_in_dagster
from embedding_assets.dagster_defs.assets.columns import RECORDS
from embedding_assets.dagster_defs.assets.intermediates import intermediate_snapshots_asset
from embedding_assets.dagster_defs.history import versions_picture
from embedding_assets.dagster_defs.resources import ARTEFACT_IO, ServicesResource
from embedding_assets.dagster_defs.runs.execution import with_provenance
from embedding_assets.dagster_defs.runs.heartbeat import heartbeat
from embedding_assets.dagster_defs.runs.planning import execution_partitions
from embedding_assets.dagster_defs.runs.publication_event import published_line
from embedding_assets.databases import Database
from embedding_assets.executions.intermediate import IntermediateSnapshots
from embedding_assets.executions.plan import Chunk, split_chunks
from embedding_assets.executions.result import FinalMergeResult
from embedding_assets.ledger.ids import planned_at
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.services import Services
from embedding_assets.telemetry import Telemetry, telemetry
from embedding_assets.versions.manifest import read_pointer


def merging_assets(
    database: Database, *, step_per_chunk: bool, fresh_seconds: float | None = None
) -> list[dg.AssetsDefinition]:
    """The three assets for one database; with `step_per_chunk` large executions have a step for each chunk.

    `fresh_seconds` is how old the published version may get before Dagster shows it as overdue.
    """
    return [
        _chunks(database),
        intermediate_snapshots_asset(database, step_per_chunk=step_per_chunk),
        _final_snapshot(database, fresh_seconds),
    ]


def _partitions(database: Database) -> dg.DynamicPartitionsDefinition:
    return dg.DynamicPartitionsDefinition(name=execution_partitions(database))


def _chunks(database: Database) -> dg.AssetsDefinition:
    name = database.name

    @dg.asset(
        key=[name, "chunks"],
        group_name=name,
        partitions_def=_partitions(database),
        ins={"results": dg.AssetIn([name, "execution_poll_results"])},
        kinds={"s3"},
        io_manager_key=ARTEFACT_IO,
        retry_policy=RETRIES,
        description=(
            f"The plan of a merge of {name}: which deltas are in which chunk. A partition is an execution. If it "
            "fails, the next execution plans the same batches again."
        ),
        op_tags={"embedding_assets/database": name},
    )
    @without_secrets_in_dagster
    def chunks(
        context: dg.AssetExecutionContext, embedding_services: ServicesResource, results: list[PollResult]
    ) -> dg.Output[list[Chunk]]:
        connected = embedding_services.services
        with dagster_errors():
            known = with_provenance(connected.ledger, results)
            planned = split_chunks(context.partition_key, known, connected.settings.chunk_size)
        deltas = sum(len(chunk.delta_results) for chunk in planned)
        embedded = sum(result.embedding_count for chunk in planned for result in chunk.delta_results)
        return dg.Output(planned, metadata={"chunks": len(planned), "deltas": deltas, "embedded": embedded})

    return chunks


def _final_snapshot(database: Database, fresh_seconds: float | None) -> dg.AssetsDefinition:
    name = database.name
    fresh = None
    if fresh_seconds is not None:
        fresh = dg.FreshnessPolicy.time_window(fail_window=timedelta(seconds=fresh_seconds))

    @dg.asset(
        key=[name, "final_snapshot"],
        group_name=name,
        partitions_def=_partitions(database),
        ins={
            "snapshots": dg.AssetIn([name, "intermediate_snapshots"]),
            "chunks": dg.AssetIn([name, "chunks"]),
            "polled": dg.AssetIn([name, "execution_poll_results"]),
        },
        kinds={"chroma", "s3"},
        io_manager_key=ARTEFACT_IO,
        retry_policy=RETRIES,
        description=(
            f"The published version of {name}: built on the one before under a lock, verified on a private copy, "
            "and published by replacing one object, the pointer. A partition is an execution. If it fails, "
            "nothing was published and no batch is marked: the next execution plans the same batches again, or "
            "run the failed run from its failure."
        ),
        metadata=RECORDS,
        freshness_policy=fresh,
        op_tags={"embedding_assets/database": name},
    )
    @without_secrets_in_dagster
    def final_snapshot(
        context: dg.AssetExecutionContext,
        embedding_services: ServicesResource,
        snapshots: IntermediateSnapshots,
        chunks: list[Chunk],
        polled: list[PollResult],
    ) -> dg.Output[FinalMergeResult]:
        merger = embedding_services.services.final_merger(database, context.log.info)
        results = [result for chunk in chunks for result in chunk.delta_results]
        results += [result for result in polled if result.publishes and not result.to_fold]
        execution_id, meter = context.partition_key, telemetry()
        with (
            dagster_errors(),
            heartbeat(context.log.info, "the final merge"),
            meter.stage("final merge", name, execution_id),
        ):
            merged = merger.merge(results, snapshots)
            _record(meter, database, merged, results)
        metadata = _final_metadata(embedding_services, merged)
        metadata["versions"] = versions_picture(context.instance, context.asset_key, metadata)
        if _was_materialized(context):
            metadata |= _what_is_published(embedding_services.services, database)
        return dg.Output(merged, metadata=metadata)

    return final_snapshot


def _was_materialized(context: dg.AssetExecutionContext) -> bool:
    """Whether this execution is run again, by hand: it published what it had to already."""
    wanted = dg.AssetRecordsFilter(asset_key=context.asset_key, asset_partitions=[context.partition_key])
    return bool(context.instance.fetch_materializations(wanted, limit=1).records)


def _what_is_published(services: Services, database: Database) -> dict[str, dg.MetadataValue]:
    pointer = read_pointer(services.store, database)
    if pointer is None:
        return {}
    line = f"An execution that is run again changes nothing. Published now: {published_line(pointer.manifest)}"
    return {"published_now": dg.MetadataValue.md(line)}


def _record(meter: Telemetry, database: Database, merged: FinalMergeResult, results: list[PollResult]) -> None:
    """What the execution published, and how long after OpenAI had finished."""
    meter.record("embedding_assets.published.bytes", merged.size, database=database.name)
    now = datetime.now(UTC)
    for result in results:
        if result.finished_at is not None:
            lag = (now - result.finished_at).total_seconds()
            meter.record("embedding_assets.publication.lag", lag, database=database.name)
    began = planned_at(merged.execution_id)
    if began is not None:
        meter.execution(database.name, merged.execution_id, began)


def _final_metadata(embedding_services: ServicesResource, merged: FinalMergeResult) -> dict[str, dg.MetadataValue]:
    store = embedding_services.services.store
    metadata: dict[str, dg.MetadataValue] = {
        "execution_id": dg.MetadataValue.text(merged.execution_id),
        "snapshot_key": dg.MetadataValue.text(merged.snapshot_key),
        "snapshot_version": dg.MetadataValue.text(merged.snapshot_version or ""),
        "total_embeddings": dg.MetadataValue.int(merged.total_embeddings),
        "added": dg.MetadataValue.int(merged.added),
        "updated": dg.MetadataValue.int(merged.updated),
        "removed": dg.MetadataValue.int(merged.removed),
        "unchanged": dg.MetadataValue.int(merged.unchanged),
        "processing_time_seconds": dg.MetadataValue.float(merged.processing_time_seconds),
        "batches": dg.MetadataValue.json(list(merged.batches)),
        "bytes": dg.MetadataValue.int(merged.size),
        "content_digest": dg.MetadataValue.text(merged.content_digest or ""),
        "writer": dg.MetadataValue.text(merged.written),
        "pointer": dg.MetadataValue.path(store.uri(f"{merged.snapshot_key}manifest.json")),
        "dagster/row_count": dg.MetadataValue.int(merged.total_embeddings),
        "dagster/uri": dg.MetadataValue.text(store.uri(merged.snapshot_key)),
    }
    if merged.recall is not None:
        metadata["recall_at_10"] = dg.MetadataValue.float(round(merged.recall, 4))
    if merged.nodes is not None and merged.total_embeddings:
        metadata["nodes_per_record"] = dg.MetadataValue.float(round(merged.nodes / merged.total_embeddings, 3))
    return metadata
