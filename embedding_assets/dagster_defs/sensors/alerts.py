"""The sensor that posts alerts: a backlog that wants attention, a failed run, a version that is old.

What was reported is its cursor. An alert that could not be delivered is posted again at the next tick.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import dagster as dg

from embedding_assets.dagster_defs.assets.boundary import without_secrets_in_dagster
from embedding_assets.dagster_defs.resources import ServicesResource
from embedding_assets.dagster_defs.runs.executions import job_name
from embedding_assets.databases import Database
from embedding_assets.errors import ServiceError
from embedding_assets.ledger.batch_summary import BatchSummary, Status, parse_instant
from embedding_assets.operations.alerts import (
    due,
    names_of,
    problem_of_freshness,
    problem_of_runs,
    problems_of_batches,
)
from embedding_assets.operations.webhook import Webhook
from embedding_assets.services import Services
from embedding_assets.versions.manifest import Pointer, chain, read_pointer

INTERVAL_SECONDS = 60
ENDED_BADLY = [status for status in Status if not status.live and status is not Status.COMPLETED]
FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


@dataclass
class Memory:
    """The cursor: what was reported, the version looked at last, and batches of versions that lack embeddings."""

    reported: dict[str, list[str]] = field(default_factory=dict)
    version: str | None = None
    incomplete: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, cursor: str | None) -> "Memory":
        """The memory that a cursor holds; an empty one without a cursor."""
        return cls(**json.loads(cursor)) if cursor else cls()

    @property
    def cursor(self) -> str:
        """As a cursor."""
        return json.dumps(vars(self), sort_keys=True)


def alerts_sensor(database: Database, webhook: Webhook, fresh_seconds: float | None) -> dg.SensorDefinition:
    """Posts what somebody should know about `database`, once, and once more when it is over."""

    @dg.sensor(
        name=f"{database.name}_alerts",
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=INTERVAL_SECONDS,
        description=(
            f"Posts what wants attention in {database.name}: batches that failed, are late, missing "
            "or set aside, requests without an embedding, a failed run. Each once, and once more when it is over."
        ),
    )
    @without_secrets_in_dagster
    def alerts(context: dg.SensorEvaluationContext, embedding_services: ServicesResource) -> dg.SensorResult:
        services, now = embedding_services.services, datetime.now(UTC)
        memory = Memory.of(context.cursor)
        pointer = read_pointer(services.store, database)
        if pointer is not None:
            note_incomplete(services, database, pointer, memory)
        rows = {row.batch_id: row for row in watched_rows(services, database, memory)}
        forget_resolved(memory, rows)
        waiting = sum(row.status.live for row in rows.values())
        published_at = parse_instant(pointer.manifest.created_at) if pointer is not None else None
        most = None if fresh_seconds is None else timedelta(seconds=fresh_seconds)
        problems = [
            *problems_of_batches(rows.values(), now),
            *problem_of_freshness(published_at, waiting, most, now),
            *problem_of_runs(_failed_run(context.instance, database)),
        ]
        posted, refused = [], None
        for alert in due(database.name, memory.reported, problems, now):
            try:
                webhook.post(alert)
            except ServiceError as error:
                refused = error
                context.log.warning(f"{error}; posted again at the next tick: {alert.line}")
                continue
            posted.append(alert)
            memory.reported[alert.kind] = names_of(problems, alert.kind)
        summary = f"{len(posted)} alerts posted" + (f"; {refused}" if refused else "")
        return dg.SensorResult(skip_reason=summary, cursor=memory.cursor)

    return alerts


def note_incomplete(
    services: Services, database: Database, pointer: Pointer, memory: Memory, *, from_the_first: bool = False
) -> None:
    """Remember the batches of new versions that have requests without an embedding.

    A memory that knows no version yet begins with the published one, or with the first that ever was.
    """
    for manifest in chain(services.store, database, pointer.manifest):
        if manifest.version == memory.version:
            break
        without = [batch.batch_id for batch in manifest.batches if batch.failed or batch.unfinished]
        memory.incomplete += [batch_id for batch_id in without if batch_id not in memory.incomplete]
        if memory.version is None and not from_the_first:
            break
    memory.version = pointer.manifest.version


def forget_resolved(memory: Memory, rows: Mapping[str, BatchSummary]) -> None:
    """Read no longer what cannot want attention as incomplete: batches without a row, live, or resubmitted."""
    memory.incomplete = [
        batch_id
        for batch_id in memory.incomplete
        if (row := rows.get(batch_id)) is not None and not row.status.live and row.resubmitted_as is None
    ]


def watched_rows(services: Services, database: Database, memory: Memory) -> Iterator[BatchSummary]:
    """The rows that may want attention: live ones, those that ended badly, incomplete ones of versions."""
    live = services.ledger.live(database)
    yield from (*live.ready_to_plan, *live.set_aside)
    for status in ENDED_BADLY:
        rows = services.ledger.by_status(status, database.batch_type)
        yield from (row for row in rows if isinstance(row, BatchSummary))
    yield from services.ledger.get_many(memory.incomplete).values()


def _failed_run(instance: dg.DagsterInstance, database: Database) -> str | None:
    """The latest finished run of the ingest job, if it failed."""
    wanted = dg.RunsFilter(job_name=job_name(database), statuses=FINISHED)
    latest = next(iter(instance.get_runs(wanted, limit=1)), None)
    return latest.run_id if latest is not None and latest.status is dg.DagsterRunStatus.FAILURE else None
