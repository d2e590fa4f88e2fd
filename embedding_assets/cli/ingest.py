"""`ingest`: what the sensors do, in the foreground."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from embedding_assets.cli.home import dagster_instance
from embedding_assets.cli.output import STDOUT, Table, print_error, print_json, progress, warn
from embedding_assets.dagster_defs.runs.ingest import IngestReport
from embedding_assets.dagster_defs.runs.ingest import ingest as run_ingest
from embedding_assets.dagster_defs.runs.kept_engines import kept_engines
from embedding_assets.dagster_defs.runs.waiting import ingest_until_ended
from embedding_assets.databases import Database
from embedding_assets.services import Services, connect
from embedding_assets.text.counted import counted


def ingest(
    database: Annotated[
        list[str] | None, typer.Option("--database", "-d", help="Only this database; may be given again.")
    ] = None,
    until_drained: Annotated[
        bool, typer.Option("--until-drained", help="Go on until nothing more is ready.")
    ] = False,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Go on until no batch is running at OpenAI."),
    ] = False,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0, help="With --wait: seconds after which it ends with 1.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Plan what is ready at OpenAI, run it on the Dagster instance, publish, mark."""
    if timeout is not None and not wait:
        raise typer.BadParameter("--timeout goes with --wait")
    services = connect()
    if wait:
        report = _ingest_and_wait(services, database, timeout)
    else:
        report = ingest_here(services, database, until_drained=until_drained)
    if as_json:
        print_json(as_document(report))
    else:
        print_report(report)
    for failure in report.failures:
        print_error(failure)
    if wait and report.waiting and not report.failures:
        running = counted(len(report.waiting), "batch is", "batches are")
        print_error(f"{running} still running at OpenAI after {timeout:g} s")
        raise typer.Exit(1)
    if report.failures:
        raise typer.Exit(1)


def _ingest_and_wait(services: Services, names: list[str] | None, seconds: float | None) -> IngestReport:
    databases = _databases(services, names)
    with kept_engines(), dagster_instance() as instance, progress() as report:
        return ingest_until_ended(services, instance, databases, seconds=seconds, progress=report)


def _databases(services: Services, names: list[str] | None) -> list[Database]:
    settings = services.settings
    return [settings.database(name) for name in names] if names else list(settings.databases)


def ingest_here(services: Services, names: list[str] | None, *, until_drained: bool) -> IngestReport:
    """Ingest the named databases (all without names) on the Dagster instance of DAGSTER_HOME."""
    databases = _databases(services, names)
    with kept_engines(), dagster_instance() as instance, progress() as report:
        return run_ingest(services, instance, databases, until_drained=until_drained, progress=report)


def as_document(report: IngestReport) -> dict[str, object]:
    """The report in the contract's shape."""
    document = asdict(report)
    document["set_aside"] = list(report.set_aside)
    document["refused"] = list(report.refused)
    document["reasons"] = {**report.set_aside, **report.refused}
    return document


def print_report(report: IngestReport) -> None:
    """What happened, as a table."""
    for batch_id, reason in report.refused.items():
        warn(f"the row of batch {batch_id!r} is refused: {reason}")
    for batch_id, reason in report.set_aside.items():
        warn(f"batch {batch_id} is set aside: {reason}")
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("executions", ", ".join(report.executions) or "none: nothing was ready")
    for database, version in report.versions.items():
        table.add_row(f"published {database}", version)
    table.add_row("marked", str(len(report.marked)))
    table.add_row("without embeddings", str(len(report.failed)))
    table.add_row("waiting", str(len(report.waiting)))
    table.add_row("set aside", str(len(report.set_aside)))
    table.add_row("refused", str(len(report.refused)))
    STDOUT.print(table)
