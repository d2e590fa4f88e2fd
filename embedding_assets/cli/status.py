"""`status`: the backlog by status and age; for one batch, where it is and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.table import Table

from embedding_assets.cli.output import STDOUT, print_json, warn
from embedding_assets.ledger.batch_summary import BatchSummary, Refused, Status
from embedding_assets.openai_batches.poll import errors_key, records_key, result_key
from embedding_assets.services import Services, connect
from embedding_assets.snapshots.versions import read_pointer

SHOWN = 20


def status(
    database: Annotated[str | None, typer.Argument(help="Only this database.")] = None,
    batch: Annotated[str | None, typer.Option("--batch", "-b", help="The story of one batch.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Show the backlog by status and age, or one batch."""
    services = connect()
    rows, refused = ([services.ledger.get(batch)], []) if batch else _rows(services, database)
    counts = Counter(row.status.value for row in rows)
    out = _withdrawn(services, {row.batch_type for row in rows})
    if as_json:
        print_json(
            {
                "counts": dict(counts),
                "batches": [_document(row, row.batch_id in out) for row in rows],
                "refused": [row.batch_id for row in refused],
            }
        )
        return
    for row in refused:
        warn(f"the row of batch {row.batch_id!r} is refused: {row.reason}")
    if batch:
        _print_batch(services, rows[0], out.get(batch))
    else:
        _print_backlog(rows, out)


def _withdrawn(services: Services, batch_types: Collection[str]) -> dict[str, str]:
    """By batch that a rollback took out: the version that is published without it."""
    out: dict[str, str] = {}
    for database in services.settings.databases:
        pointer = read_pointer(services.store, database) if database.batch_type in batch_types else None
        if pointer is not None:
            out |= dict.fromkeys(pointer.manifest.withdrawn, pointer.manifest.version)
    return out


def _document(row: BatchSummary, withdrawn: bool) -> dict[str, Any]:
    told = row.model_dump(mode="json", exclude_none=True)
    return {**told, "withdrawn": True} if withdrawn else told


def _rows(services: Services, name: str | None) -> tuple[list[BatchSummary], list[Refused]]:
    kind = services.settings.database(name).batch_type if name else None
    parsed = [row for status in Status for row in services.ledger.by_status(status, kind)]
    rows = [row for row in parsed if isinstance(row, BatchSummary)]
    return sorted(rows, key=lambda row: row.submitted_at), [row for row in parsed if isinstance(row, Refused)]


def _print_backlog(rows: list[BatchSummary], out: Mapping[str, str]) -> None:
    now = datetime.now(UTC)
    table = Table("status", "batches", "oldest", "embedded", "failed", "unfinished", title="batches")
    for column in table.columns[1:]:
        column.justify = "right"
    for status in Status:
        chosen = [row for row in rows if row.status is status]
        if chosen:
            table.add_row(
                status.value,
                str(len(chosen)),
                _age(now - chosen[0].submitted_at),
                str(sum(row.embedded_count or 0 for row in chosen)),
                str(sum(row.failed_count or 0 for row in chosen)),
                str(sum(row.unfinished_count or 0 for row in chosen)),
            )
    STDOUT.print(table)
    open_rows = [row for row in rows if row.status.live or row.error or row.batch_id in out]
    for row in open_rows[:SHOWN]:
        withdrawn = "withdrawn by a rollback" if row.batch_id in out else ""
        why = row.set_aside or row.error or withdrawn
        STDOUT.print(f"{row.batch_id}  {row.status}  {_age(now - row.submitted_at)}  {why}")
    if len(open_rows) > SHOWN:
        STDOUT.print(f"… and {len(open_rows) - SHOWN} more; --json lists all")


def _print_batch(services: Services, row: BatchSummary, published_without: str | None) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in row.model_dump(mode="json", exclude_none=True).items():
        table.add_row(name, str(value))
    store = services.store
    places = {
        "records": records_key(row.batch_id),
        "poll result": result_key(row.batch_id),
        "errors": errors_key(row.batch_id),
    }
    for name, key in places.items():
        table.add_row(name, store.uri(key) if store.find(key) else "none")
    if published_without is not None:
        table.add_row("withdrawn", f"a rollback took it out; version {published_without} is without it")
    table.add_row("next", _next(row, withdrawn=published_without is not None))
    STDOUT.print(table)


def _next(row: BatchSummary, *, withdrawn: bool) -> str:
    if row.set_aside:
        return f"nothing until `embedding-assets reset --batch {row.batch_id} --status PENDING`"
    if row.status.live:
        return "it is polled when OpenAI has finished with it"
    if withdrawn:
        return f"nothing, unless `embedding-assets reprocess --batch {row.batch_id}` brings it back"
    if not row.embedded_count:
        return f"nothing was published; {errors_key(row.batch_id)} lists its requests, where any were answered"
    if row.unfinished_count or row.failed_count:
        return f"its good embeddings are published; {errors_key(row.batch_id)} lists the others"
    return "nothing: it is done"


def _age(age: timedelta) -> str:
    hours, rest = divmod(int(age.total_seconds()), 3600)
    return f"{hours}h{rest // 60:02d}m"
