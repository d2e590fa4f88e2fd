"""The assets that merge, all by execution: `chunks`, `intermediate_snapshots`, `final_snapshot`."""

from collections.abc import Iterator

import dagster as dg
from pydantic import BaseModel, ConfigDict, TypeAdapter

from embedding_assets.bucket.keys import groups_key
from embedding_assets.dagster_defs.assets.boundary import RETRIES, dagster_errors, without_secrets_in_dagster
from embedding_assets.dagster_defs.resources import ARTEFACT_IO, OP_OUTPUT_IO, ServicesResource
from embedding_assets.dagster_defs.runs.execution import with_provenance
from embedding_assets.dagster_defs.runs.heartbeat import heartbeat
from embedding_assets.dagster_defs.runs.planning import (
    CHUNK_STEP,
    GROUP_STEP,
    STEP_KIND_TAG,
    execution_partitions,
)
from embedding_assets.databases import Database
from embedding_assets.executions.intermediate import IntermediateSnapshots, MergedIntermediate
from embedding_assets.executions.plan import (
    Chunk,
    Intermediate,
    split_chunks,
    split_groups,
)
from embedding_assets.executions.result import FinalMergeResult
from embedding_assets.openai_batches.poll_result import PollResult


class Group(BaseModel):
    """Intermediate snapshots that are merged together."""

    model_config = ConfigDict(frozen=True)

    group: int
    parts: tuple[Intermediate, ...]


GROUPS = TypeAdapter(list[list[Intermediate]])


def merging_assets(database: Database) -> list[dg.AssetsDefinition]:
    """The three assets for one database."""
    return [_chunks(database), _intermediate_snapshots(database), _final_snapshot(database)]


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
        description=f"The plan of an execution's merge: the deltas of {name}, ten to a chunk.",
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


def _intermediate_snapshots(database: Database) -> dg.AssetsDefinition:
    name = database.name

    @dg.op(name=f"{name}_each_chunk", out=dg.DynamicOut(Chunk, io_manager_key=OP_OUTPUT_IO))
    @without_secrets_in_dagster
    def each_chunk(chunks: list[Chunk]) -> Iterator[dg.DynamicOutput[Chunk]]:
        for chunk in chunks:
            yield dg.DynamicOutput(chunk, mapping_key=f"chunk_{chunk.chunk_index}")

    @dg.op(
        name=f"{name}_merge_chunk",
        out=dg.Out(MergedIntermediate, io_manager_key=OP_OUTPUT_IO),
        retry_policy=RETRIES,
        tags={STEP_KIND_TAG: CHUNK_STEP},
    )
    @without_secrets_in_dagster
    def merge_chunk(
        context: dg.OpExecutionContext, embedding_services: ServicesResource, chunk: Chunk
    ) -> MergedIntermediate:
        with dagster_errors(), heartbeat(context.log.info, f"merging chunk {chunk.chunk_index}"):
            merged = embedding_services.services.intermediate_merger(database).merge_chunk(chunk)
        context.log.info(_summary(merged))
        return merged

    @dg.op(
        name=f"{name}_each_group",
        out=dg.DynamicOut(Group, io_manager_key=OP_OUTPUT_IO),
        retry_policy=RETRIES,
    )
    @without_secrets_in_dagster
    def each_group(
        context: dg.OpExecutionContext, embedding_services: ServicesResource, merged: list[MergedIntermediate]
    ) -> Iterator[dg.DynamicOutput[Group]]:
        connected = embedding_services.services
        settings = connected.settings
        groups = split_groups(_ordered(merged), settings.group_size, settings.group_threshold)
        if groups:
            with dagster_errors():
                plain = [
                    [Intermediate(intermediate_key=part.intermediate_key) for part in parts] for parts in groups
                ]
                data = GROUPS.dump_json(plain, indent=2, exclude_none=True)
                connected.store.put(groups_key(context.partition_key), data)
        for number, parts in enumerate(groups):
            yield dg.DynamicOutput(Group(group=number, parts=tuple(parts)), mapping_key=f"group_{number}")

    @dg.op(
        name=f"{name}_merge_group",
        out=dg.Out(MergedIntermediate, io_manager_key=OP_OUTPUT_IO),
        retry_policy=RETRIES,
        tags={STEP_KIND_TAG: GROUP_STEP},
    )
    @without_secrets_in_dagster
    def merge_group(
        context: dg.OpExecutionContext, embedding_services: ServicesResource, group: Group
    ) -> MergedIntermediate:
        merger = embedding_services.services.intermediate_merger(database)
        with dagster_errors(), heartbeat(context.log.info, f"merging group {group.group}"):
            merged = merger.merge_group(context.partition_key, group.group, group.parts)
        context.log.info(_summary(merged))
        return merged

    @dg.op(
        name=f"{name}_list_intermediates",
        out=dg.Out(IntermediateSnapshots, io_manager_key=ARTEFACT_IO),
        retry_policy=RETRIES,
    )
    @without_secrets_in_dagster
    def list_intermediates(
        context: dg.OpExecutionContext, chunks: list[MergedIntermediate], groups: list[MergedIntermediate]
    ) -> dg.Output[IntermediateSnapshots]:
        snapshots = IntermediateSnapshots(
            execution_id=context.partition_key,
            intermediates=tuple(_ordered(groups or chunks)),
            chunks=tuple(chunks),
            groups=tuple(groups),
        )
        merged = [*chunks, *groups]
        return dg.Output(
            snapshots,
            metadata={
                "chunks": len(chunks),
                "groups": len(groups),
                "rows_in": sum(chunk.rows_in for chunk in chunks),
                "rows_out": sum(last.count for last in (groups or chunks)),
                "bytes": sum(part.size for part in merged),
                "reused": sum(part.reused for part in merged),
                "duration_seconds": round(sum(part.processing_time_seconds for part in merged), 3),
            },
        )

    @dg.graph_asset(
        key=[name, "intermediate_snapshots"],
        group_name=name,
        partitions_def=_partitions(database),
        ins={"chunks": dg.AssetIn([name, "chunks"])},
        kinds={"arrow", "s3"},
        description=(
            f"Intermediate snapshots of {name}: a step folds each chunk's deltas and, above the threshold, one "
            "each group of ten. A step whose output is there already does nothing."
        ),
        tags={"embedding_assets/database": name},
    )
    def intermediate_snapshots(chunks: list[Chunk]) -> IntermediateSnapshots:
        merged = each_chunk(chunks).map(merge_chunk).collect()
        grouped = each_group(merged).map(merge_group).collect()
        result: IntermediateSnapshots = list_intermediates(merged, grouped)
        return result

    return intermediate_snapshots


def _final_snapshot(database: Database) -> dg.AssetsDefinition:
    name = database.name

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
            "and published by replacing one object, the pointer."
        ),
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
        with dagster_errors(), heartbeat(context.log.info, "the final merge"):
            merged = merger.merge(results, snapshots)
        return dg.Output(merged, metadata=_final_metadata(embedding_services, merged))

    return final_snapshot


def _ordered(merged: list[MergedIntermediate]) -> list[Intermediate]:
    """In the order of their numbers, whatever the order in which the steps ended."""
    return [
        Intermediate(intermediate_key=part.intermediate_key, digest=part.digest)
        for part in sorted(merged, key=lambda part: part.number)
    ]


def _summary(merged: MergedIntermediate) -> str:
    what = "already there" if merged.reused else f"merged in {merged.processing_time_seconds:.2f} s"
    return (
        f"{merged.intermediate_key}: {merged.rows_in} rows of {merged.sources} sources, {merged.count} ids, {what}"
    )


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
    return metadata
