"""The job that lets Dagster forget what is finished for long, and its schedule."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import dagster as dg

from embedding_assets.dagster_defs.assets.boundary import dagster_errors, without_secrets_in_dagster
from embedding_assets.dagster_defs.resources import ServicesResource
from embedding_assets.dagster_defs.runs.heartbeat import heartbeat
from embedding_assets.dagster_defs.runs.planning import QUIET
from embedding_assets.dagster_defs.runs.retirement import retire
from embedding_assets.databases import Database

CRON = "17 3 * * *"
"""Each night."""


def retirement_job(database: Database) -> dg.JobDefinition:
    """Retires what was finished more than EMBEDDING_ASSETS_PARTITION_RETENTION_DAYS ago."""
    name = f"retire_{database.name}"

    @dg.op(
        name=f"{name}_partitions",
        description="Deletes partitions and runs of finished batches and executions from Dagster, and op outputs.",
        out=dg.Out(dg.Nothing),
    )
    @without_secrets_in_dagster
    def retire_partitions(context: dg.OpExecutionContext, embedding_services: ServicesResource) -> None:
        connected = embedding_services.services
        age = timedelta(days=connected.settings.partition_retention_days)
        with dagster_errors(), heartbeat(context.log.info, "retiring"):
            retired = retire(connected, context.instance, database, datetime.now(UTC), age)
        counts = ", ".join(f"{count} {kind}" for kind, count in asdict(retired).items())
        context.log.info(f"Dagster has forgotten {counts} older than {age.days} days")

    @dg.job(
        name=name,
        description=f"Lets Dagster forget old batches and executions of {database.name}. The table keeps them.",
        executor_def=dg.in_process_executor,
    )
    def job() -> None:
        retire_partitions()

    return job


def retirement_schedule(database: Database, job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Runs the job each night."""
    return dg.ScheduleDefinition(
        name=f"{database.name}_retirement",
        job=job,
        cron_schedule=CRON,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        run_config=QUIET,
        description=(
            f"Lets Dagster forget batches and executions of {database.name} that were finished more than "
            "EMBEDDING_ASSETS_PARTITION_RETENTION_DAYS ago."
        ),
    )
