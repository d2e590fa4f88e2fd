"""The sensor that starts executions: from the ledger alone, when enough batches are ready at OpenAI."""

from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg

from embedding_assets.dagster_defs.assets.boundary import without_secrets_in_dagster
from embedding_assets.dagster_defs.resources import ServicesResource
from embedding_assets.dagster_defs.runs.execution import ask_openai, enough, survey_warnings
from embedding_assets.dagster_defs.runs.executions import executions_of, in_flight, job_name
from embedding_assets.dagster_defs.runs.marking import without_published
from embedding_assets.dagster_defs.runs.passing import pause_left
from embedding_assets.dagster_defs.runs.planning import (
    add_missing,
    batch_partitions,
    begin_execution,
    run_config,
)
from embedding_assets.dagster_defs.runs.suspects import choose
from embedding_assets.databases import Database
from embedding_assets.errors import DamagedVersionError
from embedding_assets.ledger.batch_summary import BatchSummary
from embedding_assets.ledger.ledger import LiveBatches
from embedding_assets.openai_batches.absence import ANOTHER_PROJECT
from embedding_assets.openai_batches.survey import Survey
from embedding_assets.telemetry import telemetry
from embedding_assets.versions.witnesses import trusted_pointer

INTERVAL_SECONDS = 30
SINGLES_A_TICK = 50
"""Batches that a tick asks OpenAI for one by one, those that its list does not show."""


def pending_batches_sensor(database: Database, interval_seconds: int = INTERVAL_SECONDS) -> dg.SensorDefinition:
    """Plans at most one execution a tick, and none while another of this database is in flight."""

    @dg.sensor(
        name=f"{database.name}_pending_batches",
        job_name=job_name(database),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=interval_seconds,
        description=(
            f"Starts an execution when batches of {database.name} are ready at OpenAI, enough of them or one "
            "for long enough, and no other execution is in flight."
        ),
    )
    @without_secrets_in_dagster
    def pending_batches(
        context: dg.SensorEvaluationContext, embedding_services: ServicesResource
    ) -> dg.SensorResult:
        connected = embedding_services.services
        settings = connected.settings
        turn = int(context.cursor or 0)
        cursor = str(turn + 1)
        live = connected.ledger.live(database)
        for refused in live.refused:
            context.log.warning(f"the row of batch {refused.batch_id!r} is refused: {refused.reason}")
        rows = (*live.ready_to_plan, *live.set_aside)
        _record(database, rows)
        add_missing(context.instance, batch_partitions(database), (batch.batch_id for batch in rows))
        running = in_flight(context.instance, database, settings.stall_seconds)
        if running:
            reason = f"in flight: {', '.join(executions_of(running))}"
            return dg.SensorResult(skip_reason=reason, cursor=context.cursor)
        try:
            trusted_pointer(connected.store, connected.ledger, database)
        except DamagedVersionError as error:
            context.log.error(str(error))
            return dg.SensorResult(skip_reason=str(error), cursor=context.cursor)
        found = ask_openai(connected, live, SINGLES_A_TICK, turn)
        now = datetime.now(UTC)
        for warning in survey_warnings(found, now):
            context.log.warning(warning)
        if found.another_project:
            context.log.error(ANOTHER_PROJECT)
            if not found.ready:
                return dg.SensorResult(skip_reason=ANOTHER_PROJECT, cursor=cursor)
        if not enough(found, settings.min_ready, settings.max_wait_seconds, now):
            return dg.SensorResult(skip_reason=_summary(found, live), cursor=cursor)
        pause = pause_left(connected.store, context.instance, database)
        if pause > 0:
            reason = (
                f"{_summary(found, live)}; the last execution could poll nothing, the next one is in {pause:.0f} s"
            )
            return dg.SensorResult(skip_reason=reason, cursor=cursor)
        unpublished = without_published(connected, database, found.ready)
        if not unpublished:
            return dg.SensorResult(
                skip_reason="every ready batch is published and waits for a target", cursor=cursor
            )
        batches = choose(connected.store, connected.ledger, context.instance, database, unpublished)
        if not batches:
            return dg.SensorResult(skip_reason="every ready batch was set aside", cursor=cursor)
        manifest = begin_execution(connected, context.instance, database, batches)
        request = dg.RunRequest(
            run_key=manifest.execution_id,
            partition_key=manifest.execution_id,
            run_config=run_config(settings),
        )
        return dg.SensorResult(run_requests=[request], cursor=cursor)

    return pending_batches


def _record(database: Database, rows: Sequence[BatchSummary]) -> None:
    """How many batches are live, and the age of the oldest."""
    meter, now = telemetry(), datetime.now(UTC)
    oldest = max(((now - row.submitted_at).total_seconds() for row in rows), default=0.0)
    meter.record("embedding_assets.backlog.batches", len(rows), database=database.name)
    meter.record("embedding_assets.backlog.age", oldest, database=database.name)
    meter.flush()


def _summary(found: Survey, live: LiveBatches) -> str:
    parts = [f"{len(found.ready)} batches ready", f"{len(found.running)} running at OpenAI"]
    if found.not_asked:
        parts.append(f"{len(found.not_asked)} not asked for yet")
    if found.missing:
        parts.append(f"{len(found.missing)} missing at OpenAI")
    if live.set_aside:
        parts.append(f"{len(live.set_aside)} set aside")
    if live.refused:
        parts.append(f"{len(live.refused)} rows refused")
    return ", ".join(parts)
