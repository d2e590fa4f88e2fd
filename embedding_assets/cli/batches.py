"""`reprocess`, `resubmit`, `reset`, `acknowledge`, `cancel`: what is done to batches that are named."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from embedding_assets.cli.output import STDOUT, print_json, progress, requests_line
from embedding_assets.errors import InputError, NotFoundError
from embedding_assets.ledger.acknowledge import acknowledge_batches
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.services import Services, connect

BatchOption = Annotated[
    list[str],
    typer.Option("--batch", "-b", help="Batch ids, or their unique beginnings; several may follow."),
]
MoreBatches = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="More batch ids.")]
SHOWN = 5
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def reprocess(batch: BatchOption, more: MoreBatches = None, as_json: JsonOption = False) -> None:
    """Open final batches again: the next execution publishes them again."""
    services = connect()
    rows = named_rows(services, [*batch, *(more or [])])
    for row in rows:
        if row.status.live:
            raise InputError(f"batch {row.batch_id} is {row.status}: there is nothing to open again")
    _print([services.ledger.reopen(row) for row in rows], as_json)


def resubmit(
    batch: BatchOption,
    more: MoreBatches = None,
    now: Annotated[bool, typer.Option("--now", help="Also what waits for OpenAI's limit of tokens.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Price it, send nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Submit failed and unfinished requests that a retry can help as new batches."""
    services = connect()
    rows = named_rows(services, [*batch, *(more or [])])
    from embedding_assets.submission.submit import Submission

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
    more: MoreBatches = None,
    as_json: JsonOption = False,
) -> None:
    """Change the row alone: its status, and no longer set aside."""
    services = connect()
    rows = named_rows(services, [*batch, *(more or [])])
    _print([services.ledger.reset(row, status) for row in rows], as_json)


def acknowledge(
    batch: BatchOption,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why they are left as they are.")],
    more: MoreBatches = None,
    as_json: JsonOption = False,
) -> None:
    """Leave batches as they are, with a reason: nothing warns of them any more."""
    services = connect()
    rows = named_rows(services, [*batch, *(more or [])])
    changed = acknowledge_batches(services.ledger, rows, reason)
    if as_json:
        print_json({"batches": [row.model_dump(mode="json", exclude_none=True) for row in changed]})
        return
    for row in changed:
        STDOUT.print(f"{row.batch_id} is {row.status}, acknowledged: {row.acknowledged}")


def cancel(batch: BatchOption, more: MoreBatches = None, as_json: JsonOption = False) -> None:
    """Ask OpenAI to cancel batches; what was embedded by then is published and paid for."""
    services = connect()
    from embedding_assets.submission.cancel import Canceller

    canceller = Canceller(services.ledger, services.openai)
    rows = named_rows(services, [*batch, *(more or [])])
    for row in rows:
        canceller.check(row)
    with progress() as report:
        _print(canceller.cancel_all(rows, report), as_json)


def named_rows(services: Services, names: list[str]) -> list[BatchSummary]:
    """Every row that is named by its batch id or a unique beginning of it.

    One that is missing, refused or not unique raises InputError, before a command changes anything.
    """
    rows = [named_row(services, name) for name in dict.fromkeys(names)]
    return list({row.batch_id: row for row in rows}.values())


def named_row(services: Services, name: str) -> BatchSummary:
    """The row of a batch id or of a unique beginning of one. Raises InputError otherwise."""
    ledger = services.ledger
    try:
        return ledger.get(name)
    except NotFoundError as error:
        types = [database.batch_type for database in services.settings.databases]
        found = ledger.ids_beginning_with(name, types) if name else []
        if not found:
            raise InputError(str(error)) from error
        if len(found) > 1:
            shown = ", ".join(found[:SHOWN]) + (f" and {len(found) - SHOWN} more" if len(found) > SHOWN else "")
            raise InputError(f"{len(found)} batches begin with {name!r}: {shown}") from error
        return ledger.get(found[0])


def _print(rows: list[BatchSummary], as_json: bool) -> None:
    if as_json:
        print_json({"batches": [row.model_dump(mode="json", exclude_none=True) for row in rows]})
        return
    for row in rows:
        STDOUT.print(f"{row.batch_id} is {row.status}, generation {row.generation}")
