"""The jobs that submit: what lies in the inbox, and what a retry can help; and the schedule and sensor for them.

Both cost money, so both are stopped until somebody starts them in the UI.
"""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from pydantic import Field

from embedding_assets.dagster_defs.assets.boundary import dagster_errors, without_secrets_in_dagster
from embedding_assets.dagster_defs.resources import ServicesResource
from embedding_assets.dagster_defs.runs.executions import UNFINISHED
from embedding_assets.dagster_defs.runs.heartbeat import heartbeat
from embedding_assets.dagster_defs.runs.planning import QUIET
from embedding_assets.databases import Database
from embedding_assets.errors import BatchError, InputError, TransientError
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.services import Services
from embedding_assets.submission.inbox import Inbox
from embedding_assets.submission.resubmit import may_be_resubmitted
from embedding_assets.submission.submit import Submission

INBOX_CRON = "*/10 * * * *"
RESUBMISSION_SECONDS = 300
RESUBMITTED_AT_ONCE = 20
"""Batches that one run resubmits."""


def submit_job(database: Database) -> dg.JobDefinition:
    """Submits the files of the inbox that were not submitted yet."""
    name = f"submit_{database.name}"

    @dg.op(
        name=f"{name}_inbox",
        description=f"Every file under {database.name}/inbox/ without a receipt, as `embedding-assets submit`.",
        out=dg.Out(dg.Nothing),
    )
    @without_secrets_in_dagster
    def submit_inbox(context: dg.OpExecutionContext, embedding_services: ServicesResource) -> None:
        connected = embedding_services.services
        submitter = connected.submitter(database, context.log.info)
        problems = []
        with dagster_errors(), heartbeat(context.log.info, "submitting"):
            for done in Inbox(connected.store, database, submitter).submit_all():
                if done.submission is None:
                    problems.append(str(done.problem))
                    context.log.error(problems[-1])
                else:
                    _tell(context, done.key, done.submission)
        if problems:
            raise dg.Failure(f"{len(problems)} files not submitted: " + "; ".join(problems), allow_retries=False)

    @dg.job(
        name=name,
        description=f"Submits the files under {database.name}/inbox/.",
        executor_def=dg.in_process_executor,
    )
    def job() -> None:
        submit_inbox()

    return job


def inbox_schedule(database: Database, job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Looks into the inbox every ten minutes."""
    return dg.ScheduleDefinition(
        name=f"{database.name}_inbox",
        job=job,
        cron_schedule=INBOX_CRON,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        run_config=QUIET,
        description=f"Submits new files of {database.name}/inbox/. Stopped until you start it: it spends money.",
    )


class ResubmitConfig(dg.Config):
    """Which batches to resubmit."""

    batch_ids: list[str] = Field(
        [], description="Ids of batches. Empty: those that a retry can help, the oldest 20, whose wait is over."
    )
    now: bool = Field(False, description="Also what waits for OpenAI's limit of tokens.")


def resubmit_job(database: Database) -> dg.JobDefinition:
    """Resubmits the batches of its configuration."""
    name = f"resubmit_{database.name}"

    @dg.op(
        name=f"{name}_batches",
        description="Only requests without an embedding that a retry can help, as `embedding-assets resubmit`.",
        out=dg.Out(dg.Nothing),
    )
    @without_secrets_in_dagster
    def resubmit_batches(
        context: dg.OpExecutionContext, embedding_services: ServicesResource, config: ResubmitConfig
    ) -> None:
        connected = embedding_services.services
        resubmitter = connected.resubmitter(database, context.log.info)
        problems = []
        with dagster_errors(), heartbeat(context.log.info, "resubmitting"):
            due = due_batches(connected, database, datetime.now(UTC)) if not config.batch_ids else []
            chosen = config.batch_ids or [row.batch_id for row in due[:RESUBMITTED_AT_ONCE]]
            for batch_id in chosen:
                try:
                    sent = resubmitter.resubmit(connected.ledger.get(batch_id), now=config.now)
                except InputError as error:
                    context.log.warning(str(error))
                except (BatchError, TransientError) as error:
                    problems.append(str(error))
                    context.log.error(problems[-1])
                else:
                    _tell(context, batch_id, sent)
        if problems:
            message = f"{len(problems)} batches not resubmitted: " + "; ".join(problems)
            raise dg.Failure(message, allow_retries=False)

    @dg.job(
        name=name,
        description=f"Submits requests of {database.name} that have no embedding once more.",
        executor_def=dg.in_process_executor,
    )
    def job() -> None:
        resubmit_batches()

    return job


def resubmission_sensor(database: Database, job: dg.JobDefinition) -> dg.SensorDefinition:
    """Resubmits what a retry can help, each attempt after twice the wait of the one before."""

    @dg.sensor(
        name=f"{database.name}_resubmission",
        job=job,
        default_status=dg.DefaultSensorStatus.STOPPED,
        minimum_interval_seconds=RESUBMISSION_SECONDS,
        description=(
            f"Resubmits the failed and unfinished requests of {database.name} that a retry can help, after "
            "EMBEDDING_ASSETS_RESUBMIT_WAIT_SECONDS and then twice as long each time. Stopped until you start it: "
            "it spends money."
        ),
    )
    @without_secrets_in_dagster
    def resubmission(context: dg.SensorEvaluationContext, embedding_services: ServicesResource) -> dg.SensorResult:
        running = context.instance.get_runs(dg.RunsFilter(job_name=job.name, statuses=UNFINISHED), limit=1)
        if running:
            return dg.SensorResult(skip_reason=f"run {running[0].run_id} goes on")
        due = due_batches(embedding_services.services, database, datetime.now(UTC))
        if not due:
            return dg.SensorResult(skip_reason="no batch is to be resubmitted now")
        chosen = [row.batch_id for row in due[:RESUBMITTED_AT_ONCE]]
        return dg.SensorResult(run_requests=[dg.RunRequest(run_config=resubmit_config(database, chosen))])

    return resubmission


def resubmit_config(database: Database, batch_ids: list[str]) -> dict[str, Any]:
    """The run configuration that names the batches."""
    return {"ops": {f"resubmit_{database.name}_batches": {"config": {"batch_ids": batch_ids}}}, **QUIET}


def due_batches(embedding_services: Services, database: Database, now: datetime) -> list[BatchSummary]:
    """Final batches that a retry can help and that have waited long enough, oldest end first."""
    policy = embedding_services.resubmitter(database, lambda line: None).policy
    rows = [
        row
        for status in Status
        if not status.live
        for row in embedding_services.ledger.by_status(status, database.batch_type)
        if isinstance(row, BatchSummary) and may_be_resubmitted(row, policy) and policy.due_at(row) <= now
    ]
    return sorted(rows, key=policy.due_at)


def _tell(context: dg.OpExecutionContext, subject: str, sent: Submission) -> None:
    figures = ", ".join(f"{name} {value}" for name, value in asdict(sent).items() if name != "batches")
    context.log.info(f"{subject}: batches {', '.join(sent.batches) or 'none'}; {figures}")
