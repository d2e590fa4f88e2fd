"""`submit`: records into OpenAI batches and batch summaries."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from embedding_assets.cli.output import STDOUT, print_json, progress
from embedding_assets.databases import Database
from embedding_assets.openai_batches.submit import (
    REQUESTS_A_BATCH,
    Asked,
    price_usd,
    read_submission,
    send,
    split,
)
from embedding_assets.services import Services, connect


@dataclass(frozen=True)
class Submission:
    """What was sent, or would be, in the contract's shape. `skipped` are records submitted before."""

    batches: list[str]
    requests: int
    skipped: int
    tokens: int
    price_usd: float | None


def submit(
    database: Annotated[str, typer.Argument(help="The database that the records are for.")],
    files: Annotated[list[Path], typer.Argument(help="JSONL or Parquet of records.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Price it, send nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Submit records as OpenAI batches: every file is checked whole before anything is sent."""
    services = connect()
    sent = submit_files(services, services.settings.database(database), files, dry_run=dry_run)
    if as_json:
        print_json(asdict(sent))
        return
    price = "of unknown price" if sent.price_usd is None else f"{sent.price_usd:.6f} USD"
    STDOUT.print(
        f"{sent.requests} requests in {len(sent.batches)} batches {'would be sent' if dry_run else 'sent'}: "
        f"{sent.tokens} tokens, {price}; {sent.skipped} records skipped, submitted before"
    )


def submit_files(
    services: Services,
    database: Database,
    files: list[Path],
    *,
    dry_run: bool = False,
    most: int = REQUESTS_A_BATCH,
) -> Submission:
    """Submit every record of the files, at most `most` to a batch.

    Raises InputError, naming file and line, before anything is sent.
    """
    asked = Asked(services.settings.model, services.settings.dimensions)
    planned = [batch for file in files for batch in split(database, read_submission(file), asked, most=most)]
    known = services.ledger.get_many(batch.batch_id for batch in planned)
    fresh = [batch for batch in planned if batch.batch_id not in known]
    if not dry_run:
        with progress() as tell:
            for number, batch in enumerate(fresh, start=1):
                tell(f"submitting batch {number} of {len(fresh)} to {database.name}")
                send(services.store, services.ledger, services.openai, database, batch, asked)
    tokens = sum(batch.tokens for batch in fresh)
    return Submission(
        batches=[batch.batch_id for batch in fresh],
        requests=sum(len(batch.records) for batch in fresh),
        skipped=sum(len(batch.records) for batch in planned if batch.batch_id in known),
        tokens=tokens,
        price_usd=price_usd(tokens, asked.model),
    )
