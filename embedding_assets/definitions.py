"""What Dagster loads: for each database assets with checks, jobs, sensors and a schedule, all from factories."""

from __future__ import annotations

import dagster as dg

from embedding_assets.dagster_defs.assets.merging import merging_assets
from embedding_assets.dagster_defs.assets.polling import ARTEFACT_IO, polling_assets
from embedding_assets.dagster_defs.checks.asset_checks import execution_checks
from embedding_assets.dagster_defs.io_manager import ArtefactIOManager, OpOutputIOManager
from embedding_assets.dagster_defs.resources import ServicesResource, SharingS3Resource
from embedding_assets.dagster_defs.runs.executions import job_name
from embedding_assets.dagster_defs.sensors.completion import completion_sensor
from embedding_assets.dagster_defs.sensors.pending_batches import pending_batches_sensor
from embedding_assets.dagster_defs.submission_jobs import (
    inbox_schedule,
    resubmission_sensor,
    resubmit_job,
    submit_job,
)
from embedding_assets.databases import Database
from embedding_assets.settings import Settings, load_settings

INGESTED = ("execution_poll_results", "chunks", "intermediate_snapshots", "final_snapshot")
"""The assets of one execution, in their order."""


def ingest_job(database: Database) -> dg.UnresolvedAssetJobDefinition:
    """The job that takes one execution from polling to the published version."""
    return dg.define_asset_job(
        job_name(database),
        selection=dg.AssetSelection.assets(*([database.name, asset] for asset in INGESTED)),
        description=f"Polls the batches of one execution and publishes the next version of {database.name}.",
    )


def build_definitions(settings: Settings) -> dg.Definitions:
    """All assets, jobs, sensors and resources for the databases of `settings`."""
    s3 = SharingS3Resource()
    assets = [
        asset
        for database in settings.databases
        for asset in (*polling_assets(database), *merging_assets(database))
    ]
    sensors = [
        sensor
        for database in settings.databases
        for sensor in (
            pending_batches_sensor(database, settings.sensor_seconds),
            completion_sensor(database, settings.sensor_seconds),
        )
    ]
    submitting = [(database, submit_job(database), resubmit_job(database)) for database in settings.databases]
    sensors += [resubmission_sensor(database, job) for database, _, job in submitting]
    return dg.Definitions(
        assets=assets,
        asset_checks=[check for database in settings.databases for check in execution_checks(database)],
        jobs=[
            *(ingest_job(database) for database in settings.databases),
            *(job for _, *jobs in submitting for job in jobs),
        ],
        sensors=sensors,
        schedules=[inbox_schedule(database, job) for database, job, _ in submitting],
        resources={
            "s3": s3,
            "services": ServicesResource(),
            ARTEFACT_IO: ArtefactIOManager(s3=s3, bucket=settings.bucket),
            "io_manager": OpOutputIOManager(s3=s3, bucket=settings.bucket),
        },
    )


defs = build_definitions(load_settings())


def load_job(name: str) -> dg.JobDefinition:
    """The job `name` of the definitions; the processes of a run's steps find it through here."""
    return defs.resolve_job_def(name)
