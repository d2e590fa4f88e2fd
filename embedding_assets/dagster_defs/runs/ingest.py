"""Ingesting in the foreground: what the sensors do, without waiting for them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from dagster import (
    AssetKey,
    DagsterEventType,
    DagsterInstance,
    JobExecutionResult,
    build_reconstructable_job,
    execute_job,
)

from embedding_assets.dagster_defs.runs.execution import ask_openai, survey_warnings
from embedding_assets.dagster_defs.runs.executions import (
    PARTITION_TAG,
    executions_of,
    in_flight,
    job_name,
)
from embedding_assets.dagster_defs.runs.follow import follow
from embedding_assets.dagster_defs.runs.interrupts import noticed_interrupts
from embedding_assets.dagster_defs.runs.marking import mark_and_tell, without_published
from embedding_assets.dagster_defs.runs.passing import describe_unpolled, polled_nothing, read_results
from embedding_assets.dagster_defs.runs.planning import DEFINITIONS, begin_execution, run_config
from embedding_assets.dagster_defs.runs.suspects import choose
from embedding_assets.databases import Database
from embedding_assets.errors import DamagedVersionError, TargetError
from embedding_assets.executions.ending import ended_without_embeddings
from embedding_assets.ledger.batch_summary import BatchSummary
from embedding_assets.openai_batches.absence import ANOTHER_PROJECT, missing_warning
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.processes.process_identity import TAG, own_identity
from embedding_assets.progress import Progress
from embedding_assets.services import Services
from embedding_assets.versions.manifest import read_pointer

WAIT_SECONDS = 2.0
"""Between two looks at a run of another process that is in flight."""
PAUSE_SECONDS = 1.0
"""After an execution in which some batches could not be polled."""
BARREN_PAUSES = (2.0, 8.0, 30.0)
"""After the first, second, third execution in a row that a passing reason kept from polling anything; then the
command gives up."""


@dataclass
class IngestReport:
    """What an ingest did. `failures` has a line for each failed execution, `warned` what was reported once."""

    executions: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    marked: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    set_aside: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)

    def add(self, later: IngestReport) -> None:
        """Count what a later ingest did as well; what waits, is refused or set aside is as it is then."""
        for name in ("executions", "marked", "failed", "failures", "warned"):
            getattr(self, name).extend(getattr(later, name))
        self.versions |= later.versions
        self.set_aside, self.refused, self.waiting = later.set_aside, later.refused, later.waiting


def ingest(
    services: Services,
    instance: DagsterInstance,
    databases: Sequence[Database],
    *,
    until_drained: bool,
    progress: Progress,
) -> IngestReport:
    """Plan everything that is ready, one execution for each database, run it on `instance`, and mark.

    With `until_drained` again and again, until nothing more is ready. An execution that failed is in the report
    and not tried again here; one that a passing reason kept from polling anything is, after a pause, a few times.
    A database whose pointer is lost or damaged is in the report too: nothing of it is touched. Raises if the
    ledger, the bucket or OpenAI cannot be asked.
    """
    report = IngestReport()
    for database in databases:
        try:
            _executions(services, instance, database, report, until_drained=until_drained, progress=progress)
        except DamagedVersionError as error:
            report.failures.append(str(error))
        _tell_the_rest(services, database, report, progress)
    return report


def _executions(
    services: Services,
    instance: DagsterInstance,
    database: Database,
    report: IngestReport,
    *,
    until_drained: bool,
    progress: Progress,
) -> None:
    """One execution, or as many as it takes until nothing more is ready."""
    barren = 0
    while True:
        done = _one_execution(services, instance, database, report, progress)
        if done.unpolled is None:
            barren = 0
        elif not until_drained or barren == len(BARREN_PAUSES):
            report.failures.append(done.unpolled)
            return
        else:
            progress(f"warning: {done.unpolled}; trying again in {BARREN_PAUSES[barren]:.0f} s")
            time.sleep(BARREN_PAUSES[barren])
            barren += 1
        if not (done.more and until_drained):
            return


@dataclass(frozen=True)
class _Done:
    """`more`: whether to look for another execution. `unpolled`: why this one polled nothing, if that may pass."""

    more: bool
    unpolled: str | None = None


def _one_execution(
    services: Services, instance: DagsterInstance, database: Database, report: IngestReport, progress: Progress
) -> _Done:
    """Plan and run one execution. No more if nothing was ready, or the execution failed."""
    _wait_for_others(services, instance, database, progress)
    _mark(services, instance, database, report, progress)
    progress(f"{database.name}: looking in the table and at OpenAI for batches that are ready")
    found = ask_openai(services, services.ledger.live(database))
    _warn(survey_warnings(found, datetime.now(UTC)), database, report, progress)
    if found.another_project and found.missing and ANOTHER_PROJECT not in report.failures:
        report.failures.append(ANOTHER_PROJECT)
    unpublished = without_published(services, database, found.ready)
    ready = choose(services.store, services.ledger, instance, database, unpublished)
    if not ready:
        return _Done(more=False)
    manifest = begin_execution(services, instance, database, ready)
    execution_id = manifest.execution_id
    report.executions.append(execution_id)
    progress(f"{database.name}: execution {execution_id} of {len(ready)} batches")
    failure = run_execution(services, instance, database, execution_id, progress, batches=len(ready))
    marked = _mark(services, instance, database, report, progress)
    if failure is not None:
        if ANOTHER_PROJECT not in failure or ANOTHER_PROJECT not in report.failures:
            report.failures.append(f"execution {execution_id} of {database.name} failed: {failure}")
        _note_failed(ended_without_embeddings(services.ledger, ready), report)
        return _Done(more=False)
    results = read_results(services.store, execution_id)
    _note_failed([result.batch_id for result in results if _ended_with_nothing(result)], report)
    unpolled = describe_unpolled(results)
    if unpolled is not None and polled_nothing(results):
        return _Done(more=True, unpolled=f"execution {execution_id} of {database.name}: {unpolled}")
    if unpolled is not None:
        report.warned.append(unpolled)
        progress(f"warning: {database.name}: {unpolled}")
    if any(result.action == "error" for result in results):
        time.sleep(PAUSE_SECONDS)
    if not marked:
        return _Done(more=False)
    still_ready = services.ledger.get_many(batch.batch_id for batch in ready)
    if all(still_ready.get(batch.batch_id) == batch for batch in ready):
        if any(result.missing for result in results):
            return _Done(more=False)
        report.failures.append(f"execution {execution_id} of {database.name} changed no row of its batches")
        return _Done(more=False)
    return _Done(more=True)


def run_execution(
    services: Services,
    instance: DagsterInstance,
    database: Database,
    execution_id: str,
    progress: Progress,
    *,
    batches: int,
) -> str | None:
    """Run the database's job over one execution; return why it failed, in one line, or None.

    Raises Interrupted, after the run, if a signal came while it went on.
    """
    tags = {PARTITION_TAG: execution_id}
    identity = own_identity()
    if identity is not None:
        tags[TAG] = identity
    config = run_config(services.settings)
    job = build_reconstructable_job(DEFINITIONS, "load_job", (job_name(database),))
    with (
        noticed_interrupts() as raise_if_interrupted,
        follow(instance, execution_id, lambda line: progress(f"{database.name}: {line}"), batches),
    ):
        # Not as a context manager: that would set up all resources once more, to load outputs.
        result = execute_job(job, instance, run_config=config, tags=tags)
        raise_if_interrupted()
    if not result.success:
        return _first_failure(result)
    published = [
        event.asset_key
        for event in result.all_events
        if event.event_type == DagsterEventType.ASSET_MATERIALIZATION
    ]
    if AssetKey([database.name, "final_snapshot"]) not in published:
        return "the run ended without materializing the final snapshot"
    return None


def _first_failure(result: JobExecutionResult) -> str:
    for event in result.all_events:
        if event.event_type == DagsterEventType.STEP_FAILURE:
            data = event.step_failure_data
            if data.user_failure_data is not None and data.user_failure_data.description:
                return f"{event.step_key}: {data.user_failure_data.description}"
            error = data.error
            while error is not None and error.cause is not None:
                error = error.cause
            message = " ".join(error.message.split()) if error is not None else "no reason given"
            return f"{event.step_key}: {message}"
    return "the run failed before its first step"


def _wait_for_others(
    services: Services, instance: DagsterInstance, database: Database, progress: Progress
) -> None:
    """Two executions at once would be wasteful: wait for the one that is alive, at most until it stalls."""
    while running := in_flight(instance, database, services.settings.stall_seconds):
        progress(f"{database.name}: waiting for {', '.join(executions_of(running))}, which is in flight")
        time.sleep(WAIT_SECONDS)


def _mark(
    services: Services, instance: DagsterInstance, database: Database, report: IngestReport, progress: Progress
) -> bool:
    """Mark, and say whether all could be: a target without the version is a failure of this ingest."""
    try:
        _note_marked(mark_and_tell(services, instance, database, progress), report)
    except TargetError as error:
        if str(error) not in report.failures:
            report.failures.append(str(error))
        return False
    return True


def _note_marked(rows: Sequence[BatchSummary], report: IngestReport) -> None:
    report.marked += [row.batch_id for row in rows if row.batch_id not in report.marked]


def _ended_with_nothing(result: PollResult) -> bool:
    return result.action == "handle_failure" and result.kept_status is None


def _note_failed(batch_ids: Sequence[str], report: IngestReport) -> None:
    report.failed += [batch_id for batch_id in batch_ids if batch_id not in report.failed]


def _warn(warnings: Sequence[str], database: Database, report: IngestReport, progress: Progress) -> None:
    """Each warning once, however often it comes up."""
    for warning in warnings:
        if warning not in report.warned:
            report.warned.append(warning)
            progress(f"warning: {database.name}: {warning}")


def _tell_the_rest(services: Services, database: Database, report: IngestReport, progress: Progress) -> None:
    live = services.ledger.live(database)
    missing = missing_warning(live.ready_to_plan)
    _warn([missing] if missing is not None else [], database, report, progress)
    report.waiting += [batch.batch_id for batch in live.ready_to_plan]
    report.set_aside |= {batch.batch_id: batch.set_aside or "" for batch in live.set_aside}
    report.refused |= {refused.batch_id: refused.reason for refused in live.refused}
    try:
        pointer = read_pointer(services.store, database)
    except DamagedVersionError:
        return
    if pointer is not None:
        report.versions[database.name] = pointer.manifest.version
