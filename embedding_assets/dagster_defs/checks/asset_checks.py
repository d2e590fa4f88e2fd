"""The checks of one database, as Dagster runs them: with each execution, or by hand for the latest one.

None of them blocks, and none makes a run fail: what is published is published. Where a check cannot look, it
fails and says why. A run by hand has no partition: in Dagster 1.13 partitions of checks are a preview. Only checks
that can be subset are given a button in its UI.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg

from embedding_assets.dagster_defs.assets.boundary import without_secrets_in_dagster
from embedding_assets.dagster_defs.checks.answers import clear_ids, usable_vectors
from embedding_assets.dagster_defs.checks.backlog import needs_attention, on_time, output_kept
from embedding_assets.dagster_defs.checks.conservation import conserved, every_request_embedded, read_polled
from embedding_assets.dagster_defs.checks.finding import Finding
from embedding_assets.dagster_defs.checks.index_quality import index_quality
from embedding_assets.dagster_defs.checks.merging import every_delta_planned, every_row_folded
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
    "vectors": "No answer was refused for its vector: NaN, infinity, all zeros, another length or model.",
    "ids": "Each id is there once in its batch, and each answer has the id of a request.",
}
PLANNED = {"all_planned": "Each delta of the execution is in exactly one chunk."}
FOLDED = {"all_folded": "Each chunk was merged once, from as many rows as its deltas have."}
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
    "vectors": WARN,
    "ids": WARN,
    "all_planned": ERROR,
    "all_folded": ERROR,
    "published": ERROR,
    "index": WARN,
    "marked": WARN,
    **dict.fromkeys(BACKLOG, WARN),
}

Findings = Mapping[str, Finding]
Look = Callable[[Services, Database, str], Findings]


@dataclass(frozen=True)
class Group:
    """Checks of one asset that look at the same things: names with descriptions, and what finds all of them."""

    asset: str
    described: Mapping[str, str]
    look: Look


def execution_checks(database: Database) -> list[dg.AssetChecksDefinition]:
    """Those of `execution_poll_results`, and in one step those of the assets that merge: a step takes its time."""
    return [
        _checks(database, [Group("execution_poll_results", POLLED, _look_at_polled)]),
        _checks(
            database,
            [
                Group("final_snapshot", PUBLISHED, _look_at_published),
                Group("chunks", PLANNED, _look_at_chunks),
                Group("intermediate_snapshots", FOLDED, _look_at_intermediates),
            ],
        ),
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
            origin = context.run.remote_job_origin
            location = origin.location_name if origin is not None else None
            findings = backlog_findings(database, rows, datetime.now(UTC), location)
        except EmbeddingAssetsError as error:
            findings = dict.fromkeys(BACKLOG, Finding(holds=False, line=f"{type(error).__name__}: {error}"))
        key = dg.AssetKey([database.name, "batches"])
        for name in sorted(check.name for check in context.selected_asset_check_keys):
            yield _result(key, name, findings[name], WARN, None)

    return checks


def backlog_findings(
    database: Database, rows: Sequence[BatchSummary], now: datetime, location: str | None
) -> Findings:
    """What the checks of `batches` find, by their names; `location` is the code location, if it is known."""
    return {
        "needs_attention": needs_attention(database, rows, now, location),
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
        description=finding.description,
        metadata=found.metadata,
    )


def _checks(database: Database, groups: Sequence[Group]) -> dg.AssetChecksDefinition:
    """One step, named after the asset of the first group."""
    keys = {group.asset: dg.AssetKey([database.name, group.asset]) for group in groups}

    @dg.multi_asset_check(
        name=f"{database.name}_{groups[0].asset}_checks",
        specs=[
            dg.AssetCheckSpec(name, asset=keys[group.asset], description=line)
            for group in groups
            for name, line in group.described.items()
        ],
        can_subset=True,
        op_tags={"embedding_assets/database": database.name},
    )
    @without_secrets_in_dagster
    def checks(
        context: dg.AssetCheckExecutionContext, embedding_services: ServicesResource
    ) -> Iterator[dg.AssetCheckResult]:
        services = embedding_services.services
        partition = context.partition_key if context.has_partition_key else None
        for group in groups:
            selected = [
                name
                for name in group.described
                if dg.AssetCheckKey(keys[group.asset], name) in context.selected_asset_check_keys
            ]
            if selected:
                execution_id, findings, passing = _found(services, database, group, partition)
                for name in selected:
                    severity = WARN if passing else SEVERITIES[name]
                    yield _result(keys[group.asset], name, findings[name], severity, execution_id)

    return checks


def _found(
    services: Services, database: Database, group: Group, partition: str | None
) -> tuple[str | None, Findings, bool]:
    """The execution, what is found of it, and whether what keeps the checks from looking may pass."""
    execution_id = partition
    try:
        execution_id = partition or latest_execution(services.store, database)
        if execution_id is None:
            nothing = Finding(holds=True, line="nothing was published yet")
            return None, dict.fromkeys(group.described, nothing), False
        return execution_id, group.look(services, database, execution_id), False
    except EmbeddingAssetsError as error:
        failed = Finding(holds=False, line=f"{type(error).__name__}: {error}")
        return execution_id, dict.fromkeys(group.described, failed), isinstance(error, TransientError)


def _look_at_polled(embedding_services: Services, database: Database, execution_id: str) -> Findings:
    polled = read_polled(embedding_services.store, embedding_services.ledger, execution_id)
    return {
        "conserved": conserved(polled),
        "failed_requests": every_request_embedded(polled),
        "vectors": usable_vectors(polled),
        "ids": clear_ids(polled),
    }


def _look_at_chunks(embedding_services: Services, database: Database, execution_id: str) -> Findings:
    return {"all_planned": every_delta_planned(embedding_services.store, execution_id)}


def _look_at_intermediates(embedding_services: Services, database: Database, execution_id: str) -> Findings:
    return {"all_folded": every_row_folded(embedding_services.store, execution_id)}


def _look_at_published(embedding_services: Services, database: Database, execution_id: str) -> Findings:
    return {
        "published": published(embedding_services.store, database, execution_id),
        "index": index_quality(embedding_services.store, database, embedding_services.settings.max_node_ratio),
        "marked": marked(
            embedding_services.store, embedding_services.ledger, database, execution_id, datetime.now(UTC)
        ),
    }


def _figure(value: float | str) -> dg.MetadataValue:
    if isinstance(value, str):
        return dg.MetadataValue.text(value)
    return dg.MetadataValue.int(value) if isinstance(value, int) else dg.MetadataValue.float(value)


def _result(
    key: dg.AssetKey, name: str, finding: Finding, severity: dg.AssetCheckSeverity, execution_id: str | None
) -> dg.AssetCheckResult:
    metadata = {figure: _figure(value) for figure, value in finding.figures.items()}
    if execution_id is not None:
        metadata["execution_id"] = dg.MetadataValue.text(execution_id)
    if finding.table:
        metadata["details"] = dg.MetadataValue.md(finding.table)
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=name,
        passed=finding.holds,
        severity=severity,
        description=finding.description,
        metadata=metadata,
    )
