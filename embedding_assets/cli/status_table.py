"""Tables of batches that fit 80 columns: by database and status, or one line for each; once, or watched."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import typer
from rich.console import Group as Lines
from rich.live import Live

from embedding_assets.cli.output import STDOUT, Table
from embedding_assets.ledger.batch_summary import BatchSummary, Status, parse_instant
from embedding_assets.operations.ages import age_text
from embedding_assets.operations.backlog import groups, requested_of, totals
from embedding_assets.submission.tokens import OPENAI_PRICES, Prices
from embedding_assets.text.counted import counted

WATCH_SECONDS = 5.0
"""Between two looks of `--watch`."""
AGE = re.compile(r"(\d+)([smhd])")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Choice:
    """Which batches are shown."""

    statuses: Sequence[Status]
    earliest: datetime | None = None

    def takes(self, row: BatchSummary) -> bool:
        """Whether the row is new enough."""
        return self.earliest is None or row.submitted_at >= self.earliest


def earliest(since: str, now: datetime) -> datetime:
    """The instant that `since` means: an age such as `2h`, or ISO 8601; a date, or no offset, is UTC."""
    age = AGE.fullmatch(since)
    try:
        if age is not None:
            return now - timedelta(seconds=int(age[1]) * SECONDS[age[2]])
        given = datetime.fromisoformat(since)
        return parse_instant((given if given.tzinfo else given.replace(tzinfo=UTC)).isoformat())
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"--since {since!r} is no time: give an age such as 2h or 3d, or an instant such as 2026-01-31T12:00Z"
        ) from None


def backlog_table(
    rows: Sequence[BatchSummary], names: Mapping[str, str], now: datetime, prices: Prices
) -> Iterator[Table | str]:
    """By database and status, with a sum in which each record counts once."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("database", "status"):
        table.add_column(name)
    for name in ("count", "oldest", "requested", "embedded", "failed", "unfinished", "USD"):
        table.add_column(name, justify="right", no_wrap=True)
    grouped = groups(rows, names, prices)
    for group in grouped:
        numbers = (group.requested_text, group.embedded, group.failed, group.unfinished)
        table.add_row(
            group.database,
            group.status.value,
            str(group.batches),
            age_text(now - group.oldest),
            *(str(number) for number in numbers),
            group.cost.summary,
        )
    whole = totals(rows, prices)
    if len(grouped) > 1:
        sums = (whole.requested, whole.embedded, whole.failed, whole.unfinished)
        table.add_section()
        table.add_row("total", "", str(whole.batches), "", *(str(number) for number in sums), whole.cost.summary)
    yield table
    if whole.sent_again:
        yield f"{counted(whole.sent_again, 'request')} sent again, counted once in the total"
    if whole.cost.unknown:
        yield f"cost unknown for {counted(whole.cost.unknown, 'batch', 'batches')}"


def list_table(rows: Sequence[BatchSummary], now: datetime) -> Table:
    """One line for each batch, the newest first."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("batch")
    table.add_column("status", no_wrap=True)
    for name in ("age", "embedded", "failed", "unfin."):
        table.add_column(name, justify="right", no_wrap=True)
    for row in sorted(rows, key=lambda row: row.submitted_at, reverse=True):
        requested = requested_of(row)
        embedded = "-" if row.embedded_count is None else str(row.embedded_count)
        table.add_row(
            row.batch_id,
            row.status.value,
            age_text(now - row.submitted_at),
            f"{embedded}/{'?' if requested is None else requested}",
            str(row.failed_count or 0),
            str(row.unfinished_count or 0),
        )
    return table


def print_list(rows: Sequence[BatchSummary], names: Mapping[str, str], now: datetime) -> None:
    """A table for each database."""
    for shown in _lists(rows, names, now):
        STDOUT.print(shown)


def _lists(rows: Sequence[BatchSummary], names: Mapping[str, str], now: datetime) -> Iterator[Table | str]:
    if not rows:
        yield "no batches"
    types = list(dict.fromkeys([*names, *(row.batch_type for row in rows)]))
    for kind in types:
        own = [row for row in rows if row.batch_type == kind]
        if own:
            yield f"{names.get(kind, kind)}: {counted(len(own), 'batch', 'batches')}"
            yield list_table(own, now)


def watch_rows(
    look: Callable[[], Sequence[BatchSummary]],
    names: Mapping[str, str],
    *,
    as_list: bool,
    prices: Prices = OPENAI_PRICES,
) -> None:
    """Show what `look` finds, in place on a terminal, else again whenever it changed, until no batch is live."""
    shown: object = None
    with Live(console=STDOUT, auto_refresh=False, transient=False) as live:
        while True:
            rows, now = look(), datetime.now(UTC)
            if rows != shown or STDOUT.is_terminal:
                shown = rows
                listed = as_list or not rows
                parts = list(_lists(rows, names, now) if listed else backlog_table(rows, names, now, prices))
                if STDOUT.is_terminal:
                    live.update(Lines(*parts, f"{now:%H:%M:%S}Z; Ctrl-C ends it"), refresh=True)
                else:
                    for part in parts:
                        STDOUT.print(part)
            if not any(row.status.live for row in rows):
                return
            time.sleep(WATCH_SECONDS)
