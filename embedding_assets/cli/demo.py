"""`demo`: the whole way on this machine, without an account: submit, ingest, publish, mark, search."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal

from embedding_assets.cli.home import ensure_dagster_home
from embedding_assets.cli.ingest import ingest_here
from embedding_assets.cli.output import STDOUT, Table, print_error, progress, warn
from embedding_assets.cli.search import Choice, print_hits, search_texts
from embedding_assets.dagster_defs.runs.ingest import IngestReport
from embedding_assets.databases import Database
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.services import Services, connect
from embedding_assets.submission.parts import Limits
from embedding_assets.versions.reader import find_version

RECORDS_A_BATCH = 120
"""Small batches, so that chunks and groups have something to do."""
BATCH_SECONDS = 3.0
GIVE_UP_SECONDS = 600.0

SEARCHES = (
    ("lines", "total to pay including tax"),
    ("lines", "can I return or refund an item?"),
    ("words", "coffee"),
)
OWN_SEARCHES = ("total rounding", "thank you, please come again", "address")


def demo(
    records: Annotated[Path | None, typer.Option("--records", help="Your own JSONL or Parquet.")] = None,
    database: Annotated[str, typer.Option("--database", "-d", help="Which database they are for.")] = "lines",
) -> None:
    """Run everything once on this machine: no account, no key, no download."""
    started = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="embedding-assets-demo-")))
        services = embedded(stack, folder, latency=BATCH_SECONDS)
        inputs = {database: records} if records is not None else demo_files(folder)
        for name, path in inputs.items():
            submitter = services.submitter(services.settings.database(name), lambda line: None)
            submitter.submit([path], limits=Limits(requests=RECORDS_A_BATCH))
        reports = _ingest_all(services, list(inputs))
        failures = [failure for report in reports for failure in report.failures]
        for failure in failures:
            print_error(failure)
        if failures:
            raise typer.Exit(1)
        for name in inputs:
            _print_database(services, services.settings.database(name))
        searches = SEARCHES if records is None else tuple((database, text) for text in OWN_SEARCHES)
        for name, text in searches:
            _, found = search_texts(services, services.settings.database(name), [text], Choice(nearest=3))
            print_hits(text, found[0])
    STDOUT.print(f"done in {time.monotonic() - started:.0f} s")


def embedded(stack: ExitStack, folder: Path, latency: float, jitter: float = 0) -> Services:
    """Start the embedded servers, point this process at them and at a Dagster home of its own."""
    from embedding_assets.local.stack import EmbeddedStack

    with progress() as report:
        report("starting S3, DynamoDB and OpenAI on this machine")
        servers = stack.enter_context(EmbeddedStack(embedder="minilm", latency=latency, jitter=jitter))
    os.environ.update(servers.environment)
    ensure_dagster_home(folder / "dagster_home")
    return connect()


def demo_files(folder: Path) -> dict[str, Path]:
    """The project's own records, as files by database."""
    from embedding_assets.local.demo import DATABASES, records

    files = {}
    for name in DATABASES:
        files[name] = folder / f"{name}.jsonl"
        lines = [json.dumps(record, ensure_ascii=False) for record in records(name)]
        files[name].write_text("\n".join(lines) + "\n", encoding="utf-8")
    return files


def _ingest_all(services: Services, names: list[str]) -> list[IngestReport]:
    """Ingest until no batch is left running at OpenAI."""
    reports: list[IngestReport] = []
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while True:
        reports.append(ingest_here(services, names, until_drained=True))
        if reports[-1].failures or not reports[-1].waiting:
            return reports
        if time.monotonic() > deadline:
            warn(f"{len(reports[-1].waiting)} batches are still running")
            return reports
        time.sleep(1)


def _print_database(services: Services, database: Database) -> None:
    manifest = find_version(services.store, database)
    parsed = [row for status in Status for row in services.ledger.by_status(status, database.batch_type)]
    rows = [row for row in parsed if isinstance(row, BatchSummary)]
    table = Table(title=database.name, title_justify="left", show_header=False)
    statuses = Counter(row.status.value for row in rows)
    table.add_row("batches", ", ".join(f"{count} {status}" for status, count in statuses.items()))
    table.add_row("requested", str(sum(row.request_count or 0 for row in rows)))
    table.add_row("embedded", str(sum(row.embedded_count or 0 for row in rows)))
    table.add_row("failed", str(sum(row.failed_count or 0 for row in rows)))
    table.add_row("unfinished", str(sum(row.unfinished_count or 0 for row in rows)))
    table.add_row("published version", manifest.version)
    table.add_row("embeddings in it", str(manifest.total_embeddings))
    table.add_row("size", decimal(manifest.size))
    table.add_row("content digest", manifest.content_digest)
    STDOUT.print(table)
