"""The assets that ask: `batches` and `poll_results` by batch, `execution_poll_results` by execution."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from embedding_assets.dagster_defs.assets.batch_events import batch_event, poll_event, reported_batches
from embedding_assets.dagster_defs.assets.boundary import RETRIES, dagster_errors, without_secrets_in_dagster
from embedding_assets.dagster_defs.assets.columns import RECORDS
from embedding_assets.dagster_defs.history import outcomes_picture
from embedding_assets.dagster_defs.resources import ARTEFACT_IO, ServicesResource
from embedding_assets.dagster_defs.runs.heartbeat import heartbeat
from embedding_assets.dagster_defs.runs.planning import batch_partitions, execution_partitions
from embedding_assets.databases import Database
from embedding_assets.errors import EmbeddingAssetsError, TransientError
from embedding_assets.executions.manifest import read_manifest
from embedding_assets.executions.settle import settle_row
from embedding_assets.openai_batches.absence import ANOTHER_PROJECT, is_old
from embedding_assets.openai_batches.account import is_another_project
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.processes.process_identity import TAG, own_identity
from embedding_assets.services import Services
from embedding_assets.telemetry import telemetry
from embedding_assets.text.redaction import redacted
from embedding_assets.text.usd import MOST_DIGITS
from embedding_assets.versions.mark import keep_row

PAUSES = (2.0, 8.0)
"""Seconds before batches that a passing reason kept from being polled by hand are polled again."""


POLLED = {
    "embeddings": "embedding_count",
    "requests.failed": "failed_count",
    "requests.unfinished": "unfinished_count",
}
"""What is counted of poll results, by the names of the counters."""


def polling_assets(database: Database) -> list[dg.AssetsDefinition]:
    """The three assets for one database."""
    by_batch = dg.DynamicPartitionsDefinition(name=batch_partitions(database))
    by_execution = dg.DynamicPartitionsDefinition(name=execution_partitions(database))
    name = database.name

    @dg.asset(
        key=[name, "batches"],
        group_name=name,
        partitions_def=by_batch,
        kinds={"dynamodb"},
        io_manager_key=ARTEFACT_IO,
        output_required=False,
        retry_policy=RETRIES,
        backfill_policy=dg.BackfillPolicy.single_run(),
        description=(
            f"The batch summaries of {name}. A partition is a batch, a row of the table. Its checks say which "
            "batches need attention, why, and what to do."
        ),
        op_tags={"embedding_assets/database": name},
    )
    @without_secrets_in_dagster
    def batches(
        context: dg.AssetExecutionContext, embedding_services: ServicesResource
    ) -> Iterator[dg.Output[None]]:
        with dagster_errors():
            for batch_id in context.partition_keys:
                row = embedding_services.services.ledger.get(batch_id)
                keep_row(embedding_services.services.store, row)
                context.log_event(batch_event(embedding_services.services, database, row))
        yield from ()

    @dg.asset(
        key=[name, "poll_results"],
        group_name=name,
        partitions_def=by_batch,
        deps=[batches],
        kinds={"openai", "s3"},
        io_manager_key=ARTEFACT_IO,
        output_required=False,
        backfill_policy=dg.BackfillPolicy.single_run(),
        description=(
            f"What OpenAI delivered for each batch of {name}: counts, errors, and the delta that holds its "
            "embeddings. A partition is a batch. Materialized by each execution; by hand it reprocesses batches: "
            "one that is final is opened again, and the sensor brings it into a new version. A batch that "
            "fails does not hold up the others: the next execution tries it again, and after three times it is "
            "set aside."
        ),
        metadata=RECORDS,
        op_tags={"embedding_assets/database": name},
    )
    @without_secrets_in_dagster
    def poll_results(
        context: dg.AssetExecutionContext, embedding_services: ServicesResource
    ) -> Iterator[dg.Output[None]]:
        failed = []
        left = list(context.partition_keys)
        for pause in (*PAUSES, None):
            passing = []
            for batch_id in left:
                try:
                    for event in _poll_again(embedding_services.services, database, batch_id):
                        context.log_event(event)
                except TransientError as error:
                    if pause is None:
                        failed.append(f"{batch_id}: {error}")
                    passing.append(batch_id)
                    context.log.warning(f"{batch_id}: {error}")
                except Exception as error:  # noqa: BLE001 - the boundary: one batch does not take the others down
                    named = isinstance(error, EmbeddingAssetsError)
                    reason = redacted(str(error)) if named else f"{type(error).__name__}: {redacted(str(error))}"
                    context.log.error(f"{batch_id}: {reason}")
                    failed.append(f"{batch_id}: {reason}")
            left = passing
            if not left:
                break
            if pause is not None:
                context.log.info(f"{len(left)} batches are polled again in {pause:.0f} s")
                time.sleep(pause)
        if failed:
            raise dg.Failure(f"{len(failed)} not polled: " + "; ".join(failed), allow_retries=False)
        yield from ()

    @dg.asset(
        key=[name, "execution_poll_results"],
        group_name=name,
        partitions_def=by_execution,
        deps=[dg.AssetDep(poll_results, partition_mapping=dg.AllPartitionMapping())],
        kinds={"openai", "s3"},
        io_manager_key=ARTEFACT_IO,
        retry_policy=RETRIES,
        description=(
            f"The poll results of {name}, every batch of an execution in one place. A partition is an execution. "
            "If it fails, the next execution asks OpenAI again."
        ),
        op_tags={"embedding_assets/database": name},
    )
    @without_secrets_in_dagster
    def execution_poll_results(
        context: dg.AssetExecutionContext, embedding_services: ServicesResource
    ) -> dg.Output[list[PollResult]]:
        _tag_run(context)
        connected = embedding_services.services

        started = time.monotonic()
        execution_id, meter = context.partition_key, telemetry()
        with (
            dagster_errors(),
            heartbeat(context.log.info, "polling"),
            meter.stage("poll", database.name, execution_id),
        ):
            manifest = read_manifest(connected.store, context.partition_key)
            context.log.info(f"polling {manifest.total_batches} batches")
            with reported_batches(connected, database, context) as polled:
                results = connected.execution_poller(database).poll(manifest, polled.add, report=polled.report)
            for name, counted in POLLED.items():
                total = sum(getattr(result, counted) for result in results)
                meter.record(f"embedding_assets.{name}", total, database=database.name)
        seconds = dg.MetadataValue.float(round(time.monotonic() - started, 3))
        metadata = {**_counts(results), "duration_seconds": seconds}
        if polled.cost_usd is not None:
            metadata["cost_usd"] = dg.MetadataValue.float(round(polled.cost_usd, MOST_DIGITS))
        if polled.oldest is not None:
            hours = (datetime.now(UTC) - polled.oldest).total_seconds() / 3600
            metadata["oldest_hours"] = dg.MetadataValue.float(round(hours, 2))
        metadata["outcomes"] = outcomes_picture(context.instance, context.asset_key, metadata)
        return dg.Output(results, metadata=metadata)

    return [batches, poll_results, execution_poll_results]


def _poll_again(embedding_services: Services, database: Database, batch_id: str) -> list[dg.AssetMaterialization]:
    """Poll a batch by hand; return the events of its poll, and of its row if that changed.

    A final one with embeddings is opened again; one that goes on is an error.
    """
    row = embedding_services.ledger.get(batch_id)
    poller = embedding_services.poller(database)
    remote = poller.ask(row)
    another_project = is_another_project(embedding_services.openai, embedding_services.ledger, [remote])
    if another_project and not is_old(row, datetime.now(UTC)):
        raise EmbeddingAssetsError(ANOTHER_PROJECT)
    result = poller.poll(row, remote=remote)
    if another_project:
        result = result.model_copy(update={"retryable_count": 0})  # nobody pays for it again by itself
    if result.missing and result.action == "wait":
        if row.status.live:
            settle_row(embedding_services.ledger, row, result)
        raise EmbeddingAssetsError(f"{result.message}; it is looked for again")
    if result.action == "wait":
        raise EmbeddingAssetsError(f"OpenAI has not finished it: {result.batch_status}")
    polled = poll_event(embedding_services, database, result)
    changed = row
    if row.status.live:
        changed = settle_row(embedding_services.ledger, row, result)
    elif result.publishes:
        changed = embedding_services.ledger.reopen(row)
    if changed == row:
        return [polled]
    keep_row(embedding_services.store, changed)
    return [batch_event(embedding_services, database, changed), polled]


def _tag_run(context: dg.AssetExecutionContext) -> None:
    """Tell which process works on the run, where a run is one process."""
    identity = own_identity()
    config: Any = context.run.run_config
    in_one_process = "in_process" in config.get("execution", {}).get("config", {})
    if identity is not None and in_one_process:
        context.instance.add_run_tags(context.run.run_id, {TAG: identity})


def _counts(results: list[PollResult]) -> dict[str, dg.MetadataValue]:
    actions = [result.action for result in results]
    counts = {
        "batches": len(results),
        "with_embeddings": sum(result.has_delta for result in results),
        "waiting": actions.count("wait"),
        "without_embeddings": actions.count("handle_failure"),
        "errors": actions.count("error"),
        "embedded": sum(result.embedding_count for result in results),
        "failed": sum(result.failed_count for result in results),
        "unfinished": sum(result.unfinished_count for result in results),
    }
    problems = [f"- `{result.batch_id}`: {result.message}" for result in results if result.message]
    metadata: dict[str, dg.MetadataValue] = {name: dg.MetadataValue.int(count) for name, count in counts.items()}
    if problems:
        metadata["problems"] = dg.MetadataValue.md("\n".join(problems))
    return metadata
