"""`reprocess` and `reset`: batches again from OpenAI's output, or the row alone."""

from __future__ import annotations

from typing import Annotated

import typer

from embedding_assets.cli.output import STDOUT, print_json
from embedding_assets.errors import InputError, NotFoundError
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.services import connect

BatchOption = Annotated[list[str], typer.Option("--batch", "-b", help="A batch id; may be given again.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def reprocess(batch: BatchOption, as_json: JsonOption = False) -> None:
    """Open final batches again: the next execution polls and publishes them anew."""
    ledger = connect().ledger
    rows = _all(ledger, batch)
    for row in rows:
        if row.status.live:
            raise InputError(f"batch {row.batch_id} is {row.status}: there is nothing to open again")
    _print([ledger.reopen(row) for row in rows], as_json)


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
