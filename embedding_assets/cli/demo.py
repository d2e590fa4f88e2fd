"""`demo`: the whole way on this machine, without an account: submit, ingest, publish, mark, search."""

from __future__ import annotations

import json
import os
import shlex
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal

from embedding_assets.cli.home import ensure_dagster_home
from embedding_assets.cli.ingest import ingest_here
from embedding_assets.cli.kept_stack import HOME
from embedding_assets.cli.output import STDOUT, Table, print_error, progress, warn
from embedding_assets.cli.search import Choice, print_hits, search_texts
from embedding_assets.dagster_defs.runs.ingest import IngestReport
from embedding_assets.databases import Database
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.services import Services, connect
from embedding_assets.submission.parts import Limits
from embedding_assets.submission.record_file import read_records
from embedding_assets.versions.reader import find_version

RECORDS_A_BATCH = 120
"""Small batches, so that chunks and groups have something to do."""
BATCH_SECONDS = 3.0
GIVE_UP_SECONDS = 600.0
SETTINGS = (
    "AWS_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_DEFAULT_REGION",
    "OPENAI_BASE_URL",
    "OPENAI_API_KEY",
    "DYNAMODB_TABLE_NAME",
    "CHROMADB_BUCKET",
    "DAGSTER_HOME",
)
"""What leads another shell to the embedded servers."""

SEARCHES = (
    ("lines", "total to pay including tax"),
    ("lines", "can I return or refund an item?"),
    ("words", "coffee"),
)
OWN_SEARCHES = 3
"""Texts of own records that are looked for, if no other query is given."""


def demo(
    records: Annotated[Path | None, typer.Option("--records", help="Your own JSONL or Parquet.")] = None,
    database: Annotated[str, typer.Option("--database", "-d", help="Which database they are for.")] = "lines",
    query: Annotated[
        list[str] | None, typer.Option("--query", "-q", help="What to look for in it; may be given again.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the servers until Ctrl-C.")] = False,
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
        for name, text in _searches(records, database, query):
            _, found = search_texts(services, services.settings.database(name), [text], Choice(nearest=3))
            print_hits(text, found[0])
        STDOUT.print(f"done in {time.monotonic() - started:.0f} s")
        if keep:
            _print_next_steps(database)
            threading.Event().wait()
    STDOUT.print(
        "next: `demo --keep --query TEXT` for a search of your own, `demo --records FILE` for your own texts"
    )


def _searches(records: Path | None, database: str, query: list[str] | None) -> list[tuple[str, str]]:
    """What to look for: the queries, else a few texts of one's own records, else those of the demo."""
    if query:
        return [(database, text) for text in query]
    if records is None:
        return [*SEARCHES]
    return [(database, record.text) for record in islice(read_records(records), OWN_SEARCHES)]


def _print_next_steps(database: str) -> None:
    """The settings for another shell, and what to try there."""
    STDOUT.print("the servers stay until Ctrl-C; in another shell:")
    for name in SETTINGS:
        STDOUT.print(f"export {name}={shlex.quote(os.environ[name])}", soft_wrap=True)
    for line in (f"search {database} 'a text'", f"status {database}", f"snapshots list {database}", "serve"):
        STDOUT.print(f"embedding-assets {line}", soft_wrap=True)


def embedded(
    stack: ExitStack, folder: Path, latency: float, jitter: float = 0, *, kept: Path | None = None
) -> Services:
    """Start the embedded servers, point this process at them and at a Dagster home of its own.

    What they hold stays in `kept`, if that is given.
    """
    from embedding_assets.local.stack import EmbeddedStack

    with progress() as report:
        report("starting S3, DynamoDB and OpenAI on this machine")
        servers = stack.enter_context(
            EmbeddedStack(embedder="minilm", latency=latency, jitter=jitter, state_dir=kept)
        )
    os.environ.update(servers.environment)
    ensure_dagster_home(folder / HOME)
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
