"""Jobs that are started by clicking, for published versions and for rows; the defaults lose nothing."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
from pydantic import Field

from embedding_assets.dagster_defs.assets.boundary import dagster_errors, without_secrets_in_dagster
from embedding_assets.dagster_defs.resources import ServicesResource
from embedding_assets.dagster_defs.runs.heartbeat import heartbeat
from embedding_assets.dagster_defs.runs.publication_event import report_published
from embedding_assets.databases import Database
from embedding_assets.ledger.acknowledge import acknowledge_batches
from embedding_assets.ledger.batch_summary import Status
from embedding_assets.ledger.ids import new_execution_id
from embedding_assets.upkeep.inspection import manifest_problems, problems_of
from embedding_assets.versions.reader import find_version


class RollbackConfig(dg.Config):
    """What to publish again."""

    version: str | None = Field(
        None, description="A version or a tag. Empty: the version before the published one."
    )
    dry_run: bool = Field(False, description="Only log what would be published; nothing changes.")


class VerifyConfig(dg.Config):
    """What to check."""

    version: str | None = Field(None, description="A version or a tag. Empty: the published version.")


class GcConfig(dg.Config):
    """Whether to delete."""

    dry_run: bool = Field(True, description="Only log what would be deleted. Set it to false to delete.")


class BatchesConfig(dg.Config):
    """Which batches."""

    batch_ids: list[str] = Field(description="Ids of batches that have ended.")


class AcknowledgeConfig(dg.Config):
    """Which batches are left as they are, and why."""

    batch_ids: list[str] = Field(description="Ids of batches that have ended.")
    reason: str = Field(description="Why nothing more is done; shown wherever the batch is.")


class ResetConfig(dg.Config):
    """Which batches get which status."""

    batch_ids: list[str] = Field(description="Ids of batches.")
    status: Status = Field(Status.PENDING, description="The status that the rows get. PENDING: planned again.")


def upkeep_jobs(database: Database) -> list[dg.JobDefinition]:
    """The jobs of one database."""
    return [
        _job(database, "rollback", "Publishes an older version again, as a new one.", _rollback(database)),
        _job(
            database,
            "verify",
            "Checks every file and record of a version; fails if one is wrong.",
            _verify(database),
        ),
        _job(database, "gc", "Shows, or deletes, what nothing needs any more.", _gc(database)),
        _job(
            database,
            "reprocess",
            "Opens final batches again: the next execution publishes them.",
            _reprocess(database),
        ),
        _job(
            database,
            "acknowledge",
            "Leaves batches as they are, with a reason: nothing warns of them any more.",
            _acknowledge(database),
        ),
        _job(database, "reset", "Changes the status of rows alone.", _reset(database)),
    ]


def _job(database: Database, name: str, description: str, op: dg.OpDefinition) -> dg.JobDefinition:
    @dg.job(name=f"{name}_{database.name}", description=description, executor_def=dg.in_process_executor)
    def job() -> None:
        op()

    return job


def _rollback(database: Database) -> dg.OpDefinition:
    @dg.op(name=f"rollback_{database.name}_version", out=dg.Out(dg.Nothing))
    @without_secrets_in_dagster
    def rollback(
        context: dg.OpExecutionContext, embedding_services: ServicesResource, config: RollbackConfig
    ) -> None:
        services, log = embedding_services.services, context.log.info
        with dagster_errors(), heartbeat(log, "rolling back"):
            task = services.rollback(database, log)
            plan = task.plan(config.version or None)
            log(f"from version {plan.current.version} to the content of {plan.target.version}")
            if config.dry_run:
                log(f"dry run, nothing was changed; withdrawn would be: {', '.join(plan.withdrawn) or 'none'}")
                return
            done = task.to(plan.target.version, new_execution_id(datetime.now(UTC)))
            log(f"version {done.version} is published; withdrawn: {', '.join(done.withdrawn) or 'none'}")
            report_published(services, context.instance, database, "rolled back")

    return rollback


def _verify(database: Database) -> dg.OpDefinition:
    @dg.op(name=f"verify_{database.name}_version", out=dg.Out(dg.Nothing))
    @without_secrets_in_dagster
    def verify(context: dg.OpExecutionContext, embedding_services: ServicesResource, config: VerifyConfig) -> None:
        store = embedding_services.services.store
        with (
            dagster_errors(),
            heartbeat(context.log.info, "verifying"),
            tempfile.TemporaryDirectory(prefix="embedding-assets-verify-") as folder,
        ):
            manifest = find_version(store, database, config.version or None)
            problems = manifest_problems(store, database, manifest)
            problems += problems_of(store, manifest, Path(folder), everything=True)
        if problems:
            what = f"version {manifest.version} of {database.name} is damaged: " + "; ".join(problems[:10])
            raise dg.Failure(what, allow_retries=False)
        context.log.info(f"version {manifest.version}: every file and every record is as published")

    return verify


def _gc(database: Database) -> dg.OpDefinition:
    @dg.op(name=f"gc_{database.name}_objects", out=dg.Out(dg.Nothing))
    @without_secrets_in_dagster
    def gc(context: dg.OpExecutionContext, embedding_services: ServicesResource, config: GcConfig) -> None:
        services, log = embedding_services.services, context.log.info
        with dagster_errors(), heartbeat(log, "collecting"):
            purpose = new_execution_id(datetime.now(UTC))
            garbage = services.collector(database, log).collect(purpose, dry_run=config.dry_run)
        word = "would be deleted" if config.dry_run else "deleted"
        kinds = ("versions", "unpublished", "intermediates", "deltas", "shared")
        for kind in kinds:
            found = getattr(garbage, kind)
            size = sum(one.size for one in found) / 1e6
            log(f"{word}: {len(found)} {kind}, {size:.1f} MB")

    return gc


def _reprocess(database: Database) -> dg.OpDefinition:
    @dg.op(name=f"reprocess_{database.name}_batches", out=dg.Out(dg.Nothing))
    @without_secrets_in_dagster
    def reprocess(
        context: dg.OpExecutionContext, embedding_services: ServicesResource, config: BatchesConfig
    ) -> None:
        ledger = embedding_services.services.ledger
        with dagster_errors():
            rows = [ledger.get(batch_id) for batch_id in dict.fromkeys(config.batch_ids)]
            live = [row.batch_id for row in rows if row.status.live]
            if live:
                raise dg.Failure(f"nothing was changed: {', '.join(live)} did not end yet", allow_retries=False)
            for row in rows:
                context.log.info(f"{ledger.reopen(row).batch_id} is opened again; the sensor plans it")

    return reprocess


def _acknowledge(database: Database) -> dg.OpDefinition:
    @dg.op(name=f"acknowledge_{database.name}_batches", out=dg.Out(dg.Nothing))
    @without_secrets_in_dagster
    def acknowledge(
        context: dg.OpExecutionContext, embedding_services: ServicesResource, config: AcknowledgeConfig
    ) -> None:
        ledger = embedding_services.services.ledger
        with dagster_errors():
            rows = [ledger.get(batch_id) for batch_id in dict.fromkeys(config.batch_ids)]
            for row in acknowledge_batches(ledger, rows, config.reason):
                context.log.info(f"{row.batch_id} is {row.status}, acknowledged: {row.acknowledged}")

    return acknowledge


def _reset(database: Database) -> dg.OpDefinition:
    @dg.op(name=f"reset_{database.name}_batches", out=dg.Out(dg.Nothing))
    @without_secrets_in_dagster
    def reset(context: dg.OpExecutionContext, embedding_services: ServicesResource, config: ResetConfig) -> None:
        ledger = embedding_services.services.ledger
        with dagster_errors():
            rows = [ledger.get(batch_id) for batch_id in dict.fromkeys(config.batch_ids)]
            for row in rows:
                changed = ledger.reset(row, config.status)
                context.log.info(f"{changed.batch_id} is {changed.status}, generation {changed.generation}")

    return reset
