"""`reprocess`, `resubmit`, `reset`: batches again from OpenAI's output, their failed requests, the row alone."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from embedding_assets.cli.output import STDOUT, print_json, progress, requests_line
from embedding_assets.errors import InputError, NotFoundError
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.services import connect
from embedding_assets.submission.submit import Submission

BatchOption = Annotated[list[str], typer.Option("--batch", "-b", help="A batch id; may be given again.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def reprocess(batch: BatchOption, as_json: JsonOption = False) -> None:
    """Open final batches again: the next execution publishes them again."""
    ledger = connect().ledger
    rows = _all(ledger, batch)
    for row in rows:
        if row.status.live:
            raise InputError(f"batch {row.batch_id} is {row.status}: there is nothing to open again")
    _print([ledger.reopen(row) for row in rows], as_json)


def resubmit(
    batch: BatchOption,
    now: Annotated[bool, typer.Option("--now", help="Also what waits for OpenAI's limit of tokens.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Price it, send nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Submit failed and unfinished requests that a retry can help as new batches."""
    services = connect()
    rows = _all(services.ledger, batch)
    total = Submission(price_usd=0.0)
    with progress() as report:
        for row in rows:
            services.resubmitter(services.settings.database_of(row.batch_type), report).check(row)
        for row in rows:
            database = services.settings.database_of(row.batch_type)
            sent = services.resubmitter(database, report, dry_run=dry_run).resubmit(row, now=now)
            total.add(sent)
            report(f"batch {row.batch_id}: {sent.requests} requests as {', '.join(sent.batches) or 'nothing'}")
    if as_json:
        print_json(asdict(total))
        return
    if not total.batches:
        since = "the retryable requests were submitted again already"
        why = since if total.skipped else "none of the failed requests is retryable"
        STDOUT.print(f"nothing to resubmit: {why}")
        return
    skipped = f"; {total.skipped} skipped, submitted since" if total.skipped else ""
    STDOUT.print(requests_line(total, dry_run=dry_run) + skipped)


def reset(
    batch: BatchOption,
    status: Annotated[Status, typer.Option("--status", "-s", help="The status that the row gets.")],
    as_json: JsonOption = False,
) -> None:
    """Change the row alone: its status, and no longer set aside."""
    ledger = connect().ledger
    _print([ledger.reset(row, status) for row in _all(ledger, batch)], as_json)


def _all(ledger: Ledger, batch_ids: list[str]) -> list[BatchSummary]:
    """Every named row, or none: one that is missing or refused stops the command before it changes anything."""
    try:
        return [ledger.get(batch_id) for batch_id in dict.fromkeys(batch_ids)]
    except NotFoundError as error:
        raise InputError(str(error)) from error


def _print(rows: list[BatchSummary], as_json: bool) -> None:
    if as_json:
        print_json({"batches": [row.model_dump(mode="json", exclude_none=True) for row in rows]})
        return
    for row in rows:
        STDOUT.print(f"{row.batch_id} is {row.status}, generation {row.generation}")
