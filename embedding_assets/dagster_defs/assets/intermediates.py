"""The asset `intermediate_snapshots`: one step, or, with a process for each step, a step for each chunk and group.

In one process a step for each chunk brings nothing: Dagster runs them one after the other. With a process for each
step it brings something if the chunks are large; what is small one step merges there too.
"""

from collections.abc import Iterator

import dagster as dg
from pydantic import BaseModel, ConfigDict

from embedding_assets.dagster_defs.assets.boundary import RETRIES, dagster_errors, without_secrets_in_dagster
from embedding_assets.dagster_defs.assets.columns import RECORDS
from embedding_assets.dagster_defs.resources import ARTEFACT_IO, OP_OUTPUT_IO, ServicesResource
from embedding_assets.dagster_defs.runs.heartbeat import heartbeat
from embedding_assets.dagster_defs.runs.planning import CHUNK_STEP, GROUP_STEP, STEP_KIND_TAG, execution_partitions
from embedding_assets.databases import Database
from embedding_assets.executions.hierarchy import is_small, listed, summary
from embedding_assets.executions.intermediate import IntermediateSnapshots, MergedIntermediate
from embedding_assets.executions.plan import Chunk, Intermediate
from embedding_assets.services import Services
from embedding_assets.telemetry import telemetry


class Group(BaseModel):
    """Intermediate snapshots that are merged together."""

    model_config = ConfigDict(frozen=True)

    group: int
    parts: tuple[Intermediate, ...]


def intermediate_snapshots_asset(database: Database, *, step_per_chunk: bool) -> dg.AssetsDefinition:
    """The asset of one database; with `step_per_chunk` large executions have a step for each chunk and group."""
    return _in_steps(database) if step_per_chunk else _in_one_step(database)


def _in_one_step(database: Database) -> dg.AssetsDefinition:
    name = database.name

    @dg.asset(
        key=[name, "intermediate_snapshots"],
        group_name=name,
        partitions_def=dg.DynamicPartitionsDefinition(name=execution_partitions(database)),
        ins={"chunks": dg.AssetIn([name, "chunks"])},
        kinds={"arrow", "s3"},
        description=(
            f"Intermediate snapshots of {name}: the deltas of each chunk are folded and, above the threshold, the "
            "chunks of each group of ten. A partition is an execution. If it fails, run it from its failure: what "
            "is there already is not merged again."
        ),
        metadata=RECORDS,
        io_manager_key=ARTEFACT_IO,
        retry_policy=RETRIES,
        tags={"embedding_assets/database": name},
        op_tags={"embedding_assets/database": name},
    )
    @without_secrets_in_dagster
    def intermediate_snapshots(
        context: dg.AssetExecutionContext, embedding_services: ServicesResource, chunks: list[Chunk]
    ) -> dg.Output[IntermediateSnapshots]:
        merged = _merge_all(context.op_execution_context, embedding_services.services, database, chunks)
        return dg.Output(merged, metadata=_metadata(merged))

    return intermediate_snapshots


def _in_steps(database: Database) -> dg.AssetsDefinition:
    name = database.name

    @dg.op(
        name=f"{name}_each_chunk",
        out={
            "large": dg.DynamicOut(Chunk, io_manager_key=OP_OUTPUT_IO),
            "small": dg.Out(IntermediateSnapshots, io_manager_key=OP_OUTPUT_IO),
        },
        retry_policy=RETRIES,
    )
    @without_secrets_in_dagster
    def each_chunk(
        context: dg.OpExecutionContext, embedding_services: ServicesResource, chunks: list[Chunk]
    ) -> Iterator[dg.DynamicOutput[Chunk] | dg.Output[IntermediateSnapshots]]:
        if is_small(chunks):
            merged = _merge_all(context, embedding_services.services, database, chunks)
            yield dg.Output(merged, "small")
            return
        yield dg.Output(listed(context.partition_key, [], []), "small")
        for chunk in chunks:
            yield dg.DynamicOutput(chunk, mapping_key=f"chunk_{chunk.chunk_index}", output_name="large")

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
        context.log.info(summary(merged))
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
        with dagster_errors():
            groups = embedding_services.services.hierarchy(database).groups(context.partition_key, merged)
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
        context.log.info(summary(merged))
        return merged

    @dg.op(
        name=f"{name}_list_intermediates",
        out=dg.Out(IntermediateSnapshots, io_manager_key=ARTEFACT_IO),
        retry_policy=RETRIES,
    )
    @without_secrets_in_dagster
    def list_intermediates(
        context: dg.OpExecutionContext,
        small: IntermediateSnapshots,
        chunks: list[MergedIntermediate],
        groups: list[MergedIntermediate],
    ) -> dg.Output[IntermediateSnapshots]:
        snapshots = listed(context.partition_key, chunks, groups) if chunks else small
        return dg.Output(snapshots, metadata=_metadata(snapshots))

    @dg.graph_asset(
        key=[name, "intermediate_snapshots"],
        group_name=name,
        partitions_def=dg.DynamicPartitionsDefinition(name=execution_partitions(database)),
        ins={"chunks": dg.AssetIn([name, "chunks"])},
        kinds={"arrow", "s3"},
        description=(
            f"Intermediate snapshots of {name}: a step folds each chunk's deltas and, above the threshold, one "
            "each group of ten; what is small one step folds. A partition is an execution. If it fails, run it "
            "from its failure: what is there already is not merged again."
        ),
        metadata=RECORDS,
        tags={"embedding_assets/database": name},
    )
    def intermediate_snapshots(chunks: list[Chunk]) -> IntermediateSnapshots:
        split = each_chunk(chunks)
        merged = split.large.map(merge_chunk).collect()
        grouped = each_group(merged).map(merge_group).collect()
        result: IntermediateSnapshots = list_intermediates(split.small, merged, grouped)
        return result

    return intermediate_snapshots


def _merge_all(
    context: dg.OpExecutionContext, services: Services, database: Database, chunks: list[Chunk]
) -> IntermediateSnapshots:
    log = context.log.info
    meter = telemetry()
    with (
        dagster_errors(),
        heartbeat(log, "merging the chunks"),
        meter.stage("merge chunks", database.name, context.partition_key),
    ):
        return services.hierarchy(database).merge(context.partition_key, chunks, log)


def _metadata(snapshots: IntermediateSnapshots) -> dict[str, dg.MetadataValue]:
    chunks, groups = snapshots.chunks, snapshots.groups
    merged = [*chunks, *groups]
    seconds = round(float(sum(part.processing_time_seconds for part in merged)), 3)
    counts = {
        "chunks": len(chunks),
        "groups": len(groups),
        "rows_in": sum(chunk.rows_in for chunk in chunks),
        "rows_out": sum(last.count for last in (groups or chunks)),
        "bytes": sum(part.size for part in merged),
        "reused": sum(part.reused for part in merged),
    }
    metadata: dict[str, dg.MetadataValue] = {name: dg.MetadataValue.int(count) for name, count in counts.items()}
    return metadata | {"duration_seconds": dg.MetadataValue.float(seconds)}
