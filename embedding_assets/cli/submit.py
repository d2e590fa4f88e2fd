"""`submit`: records into OpenAI batches and batch summaries."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from embedding_assets.cli.options import JsonOption
from embedding_assets.cli.output import STDOUT, note, print_json, progress, requests_line
from embedding_assets.errors import InputError
from embedding_assets.services import connect
from embedding_assets.submission.record_file import STANDARD_INPUT
from embedding_assets.submission.submit import Submission
from embedding_assets.text.counted import counted

SHOWN_BATCHES = 5
"""Ids that are printed; --json has all."""
MOST_GONE = 0.2
"""The share of a database's records that `--complete` deletes without `--yes`."""


def submit(
    database: Annotated[str, typer.Argument(help="The database that the records are for.")],
    files: Annotated[
        list[Path] | None, typer.Argument(help="JSONL or Parquet of records; - is standard input.")
    ] = None,
    delete_ids: Annotated[
        Path | None, typer.Option("--delete-ids", help="A file of ids, one a line: those records are taken out.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--all", help="Also what is published, or on its way, with the same input.")
    ] = False,
    complete: Annotated[
        bool,
        typer.Option("--complete", help="The files are the whole set: all other records are deleted."),
    ] = False,
    now: Annotated[
        bool, typer.Option("--now", help="OpenAI answers at once, without a batch, at twice the price.")
    ] = False,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="With --complete: delete more than a fifth. With --now: do not ask."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Price it, send nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Submit records as OpenAI batches, after every file was checked whole.

    What is published or on its way with the same input is skipped: the same file again costs nothing.
    """
    if not files and delete_ids is None:
        raise typer.BadParameter("a FILE of records, or --delete-ids, is needed")
    if [*(files or []), delete_ids].count(STANDARD_INPUT) > 1:
        raise typer.BadParameter("- is standard input, which can be read only once")
    if complete and (not files or delete_ids is not None):
        raise typer.BadParameter("--complete goes with FILEs that are the whole set, and not with --delete-ids")
    if yes and not (complete or now):
        raise typer.BadParameter("--yes goes with --complete or --now")
    asks = now and not yes and not dry_run
    if asks and (not sys.stdin.isatty() or STANDARD_INPUT in [*(files or []), delete_ids]):
        raise typer.BadParameter("--now asks before it pays; where nobody can answer, --yes is needed")
    services = connect()
    # A line that changes would hide the question.
    with nullcontext(note) if asks else progress() as report:
        submitter = services.submitter(
            services.settings.database(database), report, force=force, dry_run=dry_run, now=now
        )
        if complete:
            submitter = replace(submitter, most_gone=1.0 if yes else MOST_GONE)
        if now and not dry_run:
            submitter = replace(submitter, confirm=_ask if asks else _report)
        sent = submitter.submit(files or [], delete_ids)
    if as_json:
        print_json(asdict(sent))
        return
    for line in _lines(sent, dry_run=dry_run):
        STDOUT.print(line)


def _report(sent: Submission) -> None:
    """Say what is paid for, before it is."""
    if sent.sent:
        note(f"{requests_line(sent, dry_run=True)}; answered at once, at twice the batch price")


def _ask(sent: Submission) -> None:
    """Go on only if a person agrees. Raises InputError if not."""
    _report(sent)
    if sent.sent and not typer.confirm("Send?", err=True):
        raise InputError("nothing was sent")


def _lines(sent: Submission, *, dry_run: bool) -> list[str]:
    lines = [requests_line(sent, dry_run=dry_run)] if sent.requests or not sent.deletions else []
    if sent.deletions:
        lines.append(f"{counted(sent.deletions, 'deletion')} {'would be sent' if dry_run else 'sent'}")
    if sent.batches and not dry_run:
        names = sent.batches[:SHOWN_BATCHES]
        more = f" and {len(sent.batches) - len(names)} more" if len(sent.batches) > len(names) else ""
        lines.append(f"{'batch' if len(sent.batches) == 1 else 'batches'} {', '.join(names)}{more}")
    if sent.skipped:
        lines.append(f"{sent.skipped} skipped: published, or on their way, as they are")
    if sent.deferred:
        lines.append(
            f"{sent.deferred} deferred: more tokens than EMBEDDING_ASSETS_ENQUEUED_TOKENS would be enqueued; "
            "submit the same again later"
        )
    return lines
