"""`doctor`: does this account really do what the product relies on? The first thing to run on a new bucket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.text import Text

from embedding_assets.bucket.aws import MAX_CONNECTIONS, s3_client, translated
from embedding_assets.cli.options import JsonOption
from embedding_assets.cli.output import STDOUT, Table, print_error, print_json, progress
from embedding_assets.operations.doctor.check import Result, Status
from embedding_assets.operations.doctor.examination import ROUNDS, WRITERS, Doctor
from embedding_assets.services import connect

MOST_ROUNDS = 1000
STYLES = {Status.OK: "green", Status.WARNING: "yellow", Status.FAILED: "bold red", Status.SKIPPED: "dim"}


def doctor(
    rounds: Annotated[
        int, typer.Option("--rounds", min=1, max=MOST_ROUNDS, help="Rounds of each race: more find rarer faults.")
    ] = ROUNDS,
    threads: Annotated[
        int, typer.Option("--threads", min=2, max=MAX_CONNECTIONS, help="Writers at once in each round.")
    ] = WRITERS,
    as_json: JsonOption = False,
) -> None:
    """Check bucket, table and key for real, from permissions to the published version."""
    services = connect()
    settings = services.settings
    with translated("S3"):
        s3 = s3_client()
    examined = Doctor(
        services.store,
        s3,
        services.ledger,
        services.openai,
        settings.databases,
        settings.model,
        rounds=rounds,
        writers=threads,
        targets=services.targets,
    )
    with progress() as report:
        results = examined.examine(report)
    failed = [result.name for result in results if result.status is Status.FAILED]
    if as_json:
        print_json({"ok": not failed, "checks": [_document(result) for result in results]})
    else:
        _print(results)
    if failed:
        print_error(f"{len(failed)} of {len(results)} checks failed: {', '.join(failed)}")
        raise typer.Exit(1)


def _document(result: Result) -> dict[str, object]:
    return {
        "name": result.name,
        "status": result.status.value,
        "message": result.message,
        "seconds": round(result.seconds, 3),
    }


def _print(results: Sequence[Result]) -> None:
    table = Table("check", "status", "message")
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    table.columns[2].overflow = "fold"
    for result in results:
        table.add_row(result.name, Text(result.status.value, style=STYLES[result.status]), result.message)
    STDOUT.print(table)
