"""The sensor that reports the checks of `batches` whenever what they find changes, without a run.

They are also reported when the oldest live batch is an hour older, since its age is one of their figures, and when
`batches` was materialized: Dagster shows a check as "not evaluated" if its asset has a newer materialization.
"""

from datetime import UTC, datetime

import dagster as dg

from embedding_assets.dagster_defs.assets.boundary import without_secrets_in_dagster
from embedding_assets.dagster_defs.checks.asset_checks import backlog_findings, evaluation
from embedding_assets.dagster_defs.checks.backlog import to_act_on
from embedding_assets.dagster_defs.resources import ServicesResource
from embedding_assets.dagster_defs.sensors.alerts import Memory, forget_resolved, note_incomplete, watched_rows
from embedding_assets.databases import Database
from embedding_assets.versions.manifest import read_pointer

INTERVAL_SECONDS = 30


def attention_sensor(database: Database, interval_seconds: int = INTERVAL_SECONDS) -> dg.SensorDefinition:
    """Keeps the checks of `batches` as the backlog is now: a warning goes when somebody has acted."""

    @dg.sensor(
        name=f"{database.name}_attention",
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=interval_seconds,
        description=(
            f"Evaluates the checks of {database.name}/batches when the backlog changes: batches that failed, are "
            "late, missing or set aside, and requests without an embedding, until somebody acts."
        ),
    )
    @without_secrets_in_dagster
    def attention(context: dg.SensorEvaluationContext, embedding_services: ServicesResource) -> dg.SensorResult:
        services, now = embedding_services.services, datetime.now(UTC)
        memory = Memory.of(context.cursor)
        pointer = read_pointer(services.store, database)
        if pointer is not None:
            note_incomplete(services, database, pointer, memory, from_the_first=True)
        rows = {row.batch_id: row for row in watched_rows(services, database, memory)}
        forget_resolved(memory, rows)
        chosen = list(rows.values())
        origin = context.code_location_origin
        location = origin.location_name if origin is not None else None
        findings = backlog_findings(database, chosen, now, location)
        found = {remark.batch_id: [str(remark.kind)] for remark in to_act_on(chosen, now)}
        holding = {name: [str(finding.holds)] for name, finding in findings.items()}
        holding["materialized"] = [_newest_materialization(context.instance, database)]
        holding["hours"] = [str(int(float(findings["on_time"].figures.get("oldest_hours", 0))))]
        if {**found, **holding} == memory.reported:
            return dg.SensorResult(skip_reason="nothing changed", cursor=memory.cursor)
        for name, finding in findings.items():
            context.instance.report_runless_asset_event(evaluation(database, name, finding))
        memory.reported = {**found, **holding}
        return dg.SensorResult(skip_reason=findings["needs_attention"].line, cursor=memory.cursor)

    return attention


def _newest_materialization(instance: dg.DagsterInstance, database: Database) -> str:
    """Which event is the newest materialization of `batches`; empty if there is none."""
    found = instance.fetch_materializations(dg.AssetKey([database.name, "batches"]), limit=1).records
    return str(found[0].storage_id) if found else ""
