"""The checks of one database, as Dagster runs them: with each execution, or by hand for the latest one.

None of them blocks, and none makes a run fail: what is published is published. Where a check cannot look, it
fails and says why. A run by hand has no partition: in Dagster 1.13 partitions of checks are a preview. Only checks
that can be subset are given a button in its UI.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

import dagster as dg

from embedding_assets.dagster_defs.assets.boundary import without_secrets_in_dagster
from embedding_assets.dagster_defs.checks.backlog import needs_attention, on_time, output_kept
from embedding_assets.dagster_defs.checks.conservation import conserved, every_request_embedded, read_polled
from embedding_assets.dagster_defs.checks.finding import Finding
from embedding_assets.dagster_defs.checks.index_quality import index_quality
from embedding_assets.dagster_defs.checks.publication import latest_execution, marked, published
from embedding_assets.dagster_defs.resources import ServicesResource
from embedding_assets.databases import Database
from embedding_assets.errors import EmbeddingAssetsError, TransientError
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.services import Services

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN

POLLED = {
    "conserved": "Each planned batch has one poll result; requested = embedded + failed + unfinished in each.",
    "failed_requests": "Every request of the execution has an embedding; else how many have none, by code.",
}
PUBLISHED = {
    "published": "The execution's version is in the published chain and its record index is what it claims.",
    "index": "Searches find at least 0.9 of the nearest records; the graph is mostly of records that are there.",
    "marked": "Every batch that the published chain accounts for has its final status.",
}
BACKLOG = {
    "needs_attention": "No batch waits for a person: warns until it is sent again, reset or acknowledged.",
    "on_time": "No batch has been live for more than 20 hours: OpenAI's limit is 24.",
    "output_kept": "OpenAI deletes output after 30 days: it keeps that of every live batch for 5 days or more.",
}
"""Names and descriptions."""

SEVERITIES = {
    "conserved": ERROR,
    "failed_requests": WARN,
    "published": ERROR,
    "index": WARN,
    "marked": WARN,
    **dict.fromkeys(BACKLOG, WARN),
}

Findings = Mapping[str, Finding]
Look = Callable[[Services, Database, str], Findings]


def execution_checks(database: Database) -> list[dg.AssetChecksDefinition]:
    """Those of `execution_poll_results` and those of `final_snapshot`."""
    return [
        _checks(database, "execution_poll_results", POLLED, _look_at_polled),
        _checks(database, "final_snapshot", PUBLISHED, _look_at_published),
    ]


def backlog_checks(database: Database) -> dg.AssetChecksDefinition:
    """Those of `batches`, by hand; the sensor `{database}_attention` evaluates them when the backlog changes."""

    @dg.multi_asset_check(
        name=f"{database.name}_batches_checks",
        specs=[
            dg.AssetCheckSpec(name, asset=dg.AssetKey([database.name, "batches"]), description=line)
            for name, line in BACKLOG.items()
        ],
        can_subset=True,
        op_tags={"embedding_assets/database": database.name},
    )
    @without_secrets_in_dagster
    def checks(
        context: dg.AssetCheckExecutionContext, embedding_services: ServicesResource
    ) -> Iterator[dg.AssetCheckResult]:
        ledger = embedding_services.services.ledger
        try:
            rows = [
                row
                for status in Status
                for row in ledger.by_status(status, database.batch_type)
                if isinstance(row, BatchSummary)
            ]
            findings = backlog_findings(database, rows, datetime.now(UTC))
        except EmbeddingAssetsError as error:
            findings = dict.fromkeys(BACKLOG, Finding(holds=False, line=f"{type(error).__name__}: {error}"))
        key = dg.AssetKey([database.name, "batches"])
        for name in sorted(check.name for check in context.selected_asset_check_keys):
            yield _result(key, name, findings[name], WARN, None)

    return checks


def backlog_findings(database: Database, rows: Sequence[BatchSummary], now: datetime) -> Findings:
    """What the checks of `batches` find, by their names."""
    return {
        "needs_attention": needs_attention(database.name, rows, now),
        "on_time": on_time(rows, now),
        "output_kept": output_kept(rows, now),
    }


def evaluation(database: Database, name: str, finding: Finding) -> dg.AssetCheckEvaluation:
    """A finding about `batches` as an event without a run."""
    key = dg.AssetKey([database.name, "batches"])
    found = _result(key, name, finding, WARN, None)
    return dg.AssetCheckEvaluation(
        asset_key=key,
        check_name=name,
        passed=finding.holds,
        severity=WARN,
        description=finding.line,
        metadata=found.metadata,
    )


def _checks(database: Database, asset: str, described: Mapping[str, str], look: Look) -> dg.AssetChecksDefinition:
    key = dg.AssetKey([database.name, asset])

    @dg.multi_asset_check(
        name=f"{database.name}_{asset}_checks",
        specs=[dg.AssetCheckSpec(name, asset=key, description=line) for name, line in described.items()],
        can_subset=True,
        op_tags={"embedding_assets/database": database.name},
    )
    @without_secrets_in_dagster
    def checks(
        context: dg.AssetCheckExecutionContext, embedding_services: ServicesResource
    ) -> Iterator[dg.AssetCheckResult]:
        execution_id = context.partition_key if context.has_partition_key else None
        try:
            execution_id = execution_id or latest_execution(embedding_services.services.store, database)
            if execution_id is None:
                nothing = Finding(holds=True, line="nothing was published yet")
                findings: Findings = dict.fromkeys(described, nothing)
            else:
                findings = look(embedding_services.services, database, execution_id)
        except EmbeddingAssetsError as error:
            findings = dict.fromkeys(described, Finding(holds=False, line=f"{type(error).__name__}: {error}"))
            passing = isinstance(error, TransientError)
        else:
            passing = False
        for name in sorted(check.name for check in context.selected_asset_check_keys):
            severity = WARN if passing else SEVERITIES[name]
            yield _result(key, name, findings[name], severity, execution_id)

    return checks


def _look_at_polled(embedding_services: Services, database: Database, execution_id: str) -> Findings:
    polled = read_polled(embedding_services.store, embedding_services.ledger, execution_id)
    return {"conserved": conserved(polled), "failed_requests": every_request_embedded(polled)}


def _look_at_published(embedding_services: Services, database: Database, execution_id: str) -> Findings:
    return {
        "published": published(embedding_services.store, database, execution_id),
        "index": index_quality(embedding_services.store, database, embedding_services.settings.max_node_ratio),
        "marked": marked(
            embedding_services.store, embedding_services.ledger, database, execution_id, datetime.now(UTC)
        ),
    }


def _result(
    key: dg.AssetKey, name: str, finding: Finding, severity: dg.AssetCheckSeverity, execution_id: str | None
) -> dg.AssetCheckResult:
    metadata: dict[str, dg.MetadataValue] = {
        figure: dg.MetadataValue.int(value) if isinstance(value, int) else dg.MetadataValue.text(value)
        for figure, value in finding.figures.items()
    }
    if execution_id is not None:
        metadata["execution_id"] = dg.MetadataValue.text(execution_id)
    if finding.table:
        metadata["details"] = dg.MetadataValue.md(finding.table)
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=name,
        passed=finding.holds,
        severity=severity,
        description=finding.line,
        metadata=metadata,
    )
