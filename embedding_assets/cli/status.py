"""`status`: the backlog by database and status; for one batch, the whole story."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from embedding_assets.cli.batches import named_row
from embedding_assets.cli.output import STDOUT, print_json, warn
from embedding_assets.cli.status_table import Choice, backlog_table, earliest, print_list, watch_rows
from embedding_assets.databases import Database
from embedding_assets.errors import DamagedVersionError
from embedding_assets.ledger.batch_summary import BatchSummary, Refused, Status
from embedding_assets.ledger.overdue import is_overdue, overdue_warning
from embedding_assets.operations.backlog import Group, groups, remarks, totals
from embedding_assets.operations.batch_story import Story, files_kept, tell_story
from embedding_assets.operations.facts import gather
from embedding_assets.services import Services, connect
from embedding_assets.text.usd import usd_text
from embedding_assets.versions.witnesses import trusted_pointer

SHOWN = 20
"""Batches that want attention and are listed; `--json` has all."""


def status(
    database: Annotated[str | None, typer.Argument(help="Only this database.")] = None,
    batch: Annotated[str | None, typer.Option("--batch", "-b", help="The story of one batch.")] = None,
    as_list: Annotated[bool, typer.Option("--list", help="One line for each batch, the newest first.")] = False,
    statuses: Annotated[
        list[Status] | None,
        typer.Option("--status", "-s", help="Only batches of this status; may be given again."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="Only batches submitted since: 90m, 2h, 3d, or ISO."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again every few seconds until no batch is live.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Show the backlog by status and age, or the whole story of one batch."""
    if batch and (as_list or statuses or since or watch):
        raise typer.BadParameter("--batch shows one batch: leave out --list, --status, --since and --watch")
    if watch and as_json:
        raise typer.BadParameter("--watch is for people: leave out --json")
    now = datetime.now(UTC)
    chosen = Choice(statuses or tuple(Status), earliest(since, now) if since else None)
    services = connect()
    if watch:
        names = _names(services)
        watch_rows(lambda: _rows(services, database, chosen)[0], names, as_list=as_list, prices=services.prices)
        return
    rows, refused = ([named_row(services, batch)], []) if batch else _rows(services, database, chosen)
    published = _published(services, _databases(services, database, rows if batch else None))
    out = published.withdrawn
    story = _story(services, rows[0], now) if batch else None
    if as_json:
        print_json({**_document(services, rows, refused, out, story, now), "damaged": published.damaged})
        return
    for line in published.damaged.values():
        warn(line)
    for row in refused:
        warn(f"the row of batch {row.batch_id!r} is refused: {row.reason}")
    late = overdue_warning(rows, now)
    if late is not None:
        warn(late)
    if story is not None:
        _print_story(story)
    elif as_list:
        print_list(rows, _names(services), now)
    else:
        _print_backlog(services, rows, out, now)


def _rows(services: Services, name: str | None, choice: Choice) -> tuple[list[BatchSummary], list[Refused]]:
    kind = services.settings.database(name).batch_type if name else None
    parsed = [row for status in choice.statuses for row in services.ledger.by_status(status, kind)]
    rows = [row for row in parsed if isinstance(row, BatchSummary) and choice.takes(row)]
    return sorted(rows, key=lambda row: row.submitted_at), [row for row in parsed if isinstance(row, Refused)]


def _databases(services: Services, name: str | None, rows: list[BatchSummary] | None) -> list[Database]:
    """The databases that are asked for: one by its name, those of some rows, or all."""
    if name is not None:
        return [services.settings.database(name)]
    types = None if rows is None else {row.batch_type for row in rows}
    return [one for one in services.settings.databases if types is None or one.batch_type in types]


@dataclass(frozen=True)
class Published:
    """Of the databases' pointers: what is `withdrawn` (the published version, by batch), what is `damaged`.

    `damaged` says, by database, what is wrong with a pointer that is lost, behind or unreadable, and what to do.
    """

    withdrawn: dict[str, str]
    damaged: dict[str, str]


def _published(services: Services, databases: Collection[Database]) -> Published:
    withdrawn: dict[str, str] = {}
    damaged: dict[str, str] = {}
    for database in databases:
        try:
            pointer = trusted_pointer(services.store, services.ledger, database)
        except DamagedVersionError as error:
            damaged[database.name] = str(error)
            continue
        if pointer is not None:
            withdrawn |= dict.fromkeys(pointer.manifest.withdrawn, pointer.manifest.version)
    return Published(withdrawn, damaged)


def _story(services: Services, row: BatchSummary, now: datetime) -> Story:
    by_type = {database.batch_type: database for database in services.settings.databases}
    database: Database | None = by_type.get(row.batch_type)
    return tell_story(gather(services.store, services.ledger, database, row), now, services.prices)


def _grouped(services: Services, rows: list[BatchSummary]) -> list[Group]:
    return groups(rows, _names(services), services.prices)


def _names(services: Services) -> dict[str, str]:
    """The databases' names by the type of their batches."""
    return {database.batch_type: database.name for database in services.settings.databases}


def _document(
    services: Services,
    rows: list[BatchSummary],
    refused: list[Refused],
    out: Mapping[str, str],
    story: Story | None,
    now: datetime,
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "counts": dict(Counter(row.status.value for row in rows)),
        "batches": [_row_document(row, row.batch_id in out) for row in rows],
        "refused": [row.batch_id for row in refused],
        "late": [row.batch_id for row in rows if is_overdue(row, now)],
    }
    if story is not None:
        return {**document, "story": story.document()}
    document["totals"] = totals(rows, services.prices).document()
    document["backlog"] = [group.document(now) for group in _grouped(services, rows)]
    document["remarks"] = [remark.document() for remark in remarks(rows, out, now)]
    return document


def _row_document(row: BatchSummary, withdrawn: bool) -> dict[str, Any]:
    document = row.model_dump(mode="json", exclude_none=True)
    return {**document, "withdrawn": True} if withdrawn else document


def _print_backlog(services: Services, rows: list[BatchSummary], out: Mapping[str, str], now: datetime) -> None:
    if not rows:
        STDOUT.print("no batches")
        return
    for shown in backlog_table(rows, _names(services), now, services.prices):
        STDOUT.print(shown)
    noted = remarks(rows, out, now)
    if noted:
        STDOUT.print()
    for remark in noted[:SHOWN]:
        STDOUT.print(remark.summary, soft_wrap=True)
    if len(noted) > SHOWN:
        STDOUT.print(f"… and {len(noted) - SHOWN} more; --json lists all")


def _print_story(story: Story) -> None:
    facts = story.facts
    row = facts.row
    _line("batch", f"{row.batch_id} of {facts.database}")
    _line("status", row.status.value)
    _line("balance", story.balance.summary)
    for group in facts.errors:
        _line("", group.summary)
    if story.cost_usd is not None:
        _line("cost", f"{usd_text(story.cost_usd)} USD")
    kept = files_kept(row)
    if kept is not None:
        _line("files", f"OpenAI keeps {kept}")
    if row.error:
        _line("error", row.error)
    publication = facts.publication
    if publication is not None:
        where = "in the published chain" if publication.in_chain else "not in the published chain"
        _line("published", f"in version {publication.version}, {where}")
        if publication.without is not None:
            _line("withdrawn", f"withdrawn by a rollback in version {publication.without}")
    _line("next", story.next.summary)
    STDOUT.print()
    STDOUT.print("timeline")
    for happening in story.timeline:
        STDOUT.print(f"  {happening.at:%Y-%m-%d %H:%M:%S}Z  {happening.what}", soft_wrap=True)
    STDOUT.print()
    STDOUT.print("artefacts")
    for artefact in facts.artefacts:
        there = artefact.location if artefact.there else f"none at {artefact.location}"
        _line(f"  {artefact.name}", there)
    STDOUT.print()
    STDOUT.print("row")
    attributes = row.model_dump(mode="json", exclude_none=True)
    width = max(map(len, attributes)) + 1
    for name, value in attributes.items():
        STDOUT.print(f"  {name:<{width}}{value}", soft_wrap=True)


def _line(name: str, value: str) -> None:
    STDOUT.print(f"{name:<14}{value}", soft_wrap=True)
