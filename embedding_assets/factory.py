"""The definitions of a Dagster project: for each database assets with checks, jobs, sensors and a schedule."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import dagster as dg

from embedding_assets.dagster_defs.assets.merging import merging_assets
from embedding_assets.dagster_defs.assets.polling import polling_assets
from embedding_assets.dagster_defs.checks.asset_checks import backlog_checks, execution_checks
from embedding_assets.dagster_defs.io_manager import ArtefactIOManager, OpOutputIOManager
from embedding_assets.dagster_defs.resources import (
    ARTEFACT_IO,
    OP_OUTPUT_IO,
    SERVICES,
    SharingS3Resource,
    services_of,
)
from embedding_assets.dagster_defs.retirement_job import retirement_job, retirement_schedule
from embedding_assets.dagster_defs.runs.executions import job_name
from embedding_assets.dagster_defs.runs.executor import executor_of, has_step_per_chunk
from embedding_assets.dagster_defs.sensors.alerts import alerts_sensor
from embedding_assets.dagster_defs.sensors.attention import attention_sensor
from embedding_assets.dagster_defs.sensors.completion import completion_sensor
from embedding_assets.dagster_defs.sensors.pending_batches import pending_batches_sensor
from embedding_assets.dagster_defs.submission_jobs import (
    inbox_schedule,
    resubmission_sensor,
    resubmit_job,
    submit_job,
)
from embedding_assets.dagster_defs.upkeep_jobs import upkeep_jobs
from embedding_assets.databases import Database
from embedding_assets.operations.webhook import Webhook
from embedding_assets.settings import Settings, load_settings

INGESTED = ("execution_poll_results", "chunks", "intermediate_snapshots", "final_snapshot")
"""The assets of one execution, in their order."""


def ingest_job(database: Database, executor: dg.ExecutorDefinition) -> dg.UnresolvedAssetJobDefinition:
    """The job that takes one execution from polling to the published version, on our executor in any project."""
    return dg.define_asset_job(
        job_name(database),
        selection=dg.AssetSelection.assets(*([database.name, asset] for asset in INGESTED)),
        description=f"Polls the batches of one execution and publishes the next version of {database.name}.",
        executor_def=executor,
    )


def build_definitions(
    settings: Settings | None = None, databases: Sequence[Database] | None = None
) -> dg.Definitions:
    """Assets, checks, jobs, sensors, schedules and resources, to be merged with those of a project.

    `settings` are those of everything that is made here, IO managers and services alike; None reads the
    environment and `.env`. `databases` are exactly those that are built; None means those of the settings. The
    keys of the resources are our own, so a project's `io_manager` and `s3` are not touched.

    Raises SettingsError for settings that are missing or wrong, and for databases with a name or type in common.
    """
    settings = load_settings() if settings is None else settings
    if databases is not None:
        settings = settings.with_databases(databases)
    executor, in_processes = executor_of(settings), has_step_per_chunk(settings)
    assets = [
        asset
        for database in settings.databases
        for asset in (
            *polling_assets(database),
            *merging_assets(database, step_per_chunk=in_processes, fresh_seconds=settings.fresh_seconds),
        )
    ]
    sensors = [
        sensor
        for database in settings.databases
        for sensor in (
            pending_batches_sensor(database, settings.sensor_seconds),
            completion_sensor(database, settings.sensor_seconds),
            attention_sensor(database, settings.sensor_seconds),
        )
    ]
    if settings.webhook_url is not None:
        webhook = Webhook(settings.webhook_url.get_secret_value(), settings.webhook_shape)
        sensors += [alerts_sensor(database, webhook, settings.fresh_seconds) for database in settings.databases]
    submitting = [(database, submit_job(database), resubmit_job(database)) for database in settings.databases]
    sensors += [resubmission_sensor(database, job) for database, _, job in submitting]
    retiring = [(database, retirement_job(database)) for database in settings.databases]
    return dg.Definitions(
        assets=assets,
        asset_checks=[
            check
            for database in settings.databases
            for check in (*execution_checks(database), backlog_checks(database))
        ],
        jobs=[
            *(ingest_job(database, executor) for database in settings.databases),
            *(job for _, *jobs in submitting for job in jobs),
            *(job for database in settings.databases for job in upkeep_jobs(database)),
            *(job for _, job in retiring),
        ],
        sensors=sensors,
        schedules=[
            *(inbox_schedule(database, job) for database, job, _ in submitting),
            *(retirement_schedule(database, job) for database, job in retiring),
        ],
        resources=_resources(settings),
    )


@cache
def _resources(settings: Settings) -> dict[str, object]:
    """The same objects for equal settings: definitions that have a resource in common can then be merged."""
    s3, key = SharingS3Resource(), settings.kms_key_id
    return {
        SERVICES: services_of(settings),
        ARTEFACT_IO: ArtefactIOManager(s3, settings.bucket, key),
        OP_OUTPUT_IO: OpOutputIOManager(s3, settings.bucket, key),
    }
