"""The checks of `batches`: whether somebody must act. They warn until somebody does, whatever ran since."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from embedding_assets.dagster_defs.checks.finding import Finding
from embedding_assets.dagster_defs.links import resubmit_link
from embedding_assets.dagster_defs.markdown import code
from embedding_assets.dagster_defs.pictures import BLUE, ORANGE, Bar, Part, bars
from embedding_assets.databases import Database
from embedding_assets.ledger.batch_summary import BatchSummary
from embedding_assets.ledger.overdue import LATE_AFTER, is_overdue, live_since
from embedding_assets.openai_batches.absence import OPENAI_KEEPS
from embedding_assets.operations.ages import age_text
from embedding_assets.operations.alerts import OF_BATCHES
from embedding_assets.operations.backlog import Remark, remarks
from embedding_assets.operations.commands import resubmit

SHOWN = 50
"""Batches that a table shows."""
NOTED = 5
"""Batches with a note of their own."""
WHY_CHARS = 300
"""Of a reason in a note."""
HOUR = timedelta(hours=1)
LAST_HOUR = 24
"""Batches as old and older are one bar of the picture."""
DELETED_WITHIN = timedelta(days=5)
"""So long before OpenAI deletes the output of a batch that is not published, somebody should know."""


def to_act_on(rows: Sequence[BatchSummary], now: datetime) -> list[Remark]:
    """The batches that somebody must do something about, the most pressing first, each once."""
    by_batch: dict[str, Remark] = {}
    for remark in remarks(rows, {}, now):
        if remark.kind in OF_BATCHES:
            by_batch.setdefault(remark.batch_id, remark)
    return list(by_batch.values())


def needs_attention(
    database: Database, rows: Sequence[BatchSummary], now: datetime, location: str | None = None
) -> Finding:
    """Holds if no batch waits for a person; otherwise a table of those that do, and notes about the first.

    `location` is the name of the code location in Dagster: with it a note has a link to the job that helps.
    """
    found = to_act_on(rows, now)
    if not found:
        return Finding(True, "no batch needs attention", {"batches": 0})
    by_id = {row.batch_id: row for row in rows}
    lines = [_line(database, remark, by_id[remark.batch_id]) for remark in found[:SHOWN]]
    more = [f"\n… and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    header = [
        "| batch | status | age | embedded | failed | unfinished | a retry can help | why | next |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    first = found[0]
    count = "1 batch needs" if len(found) == 1 else f"{len(found)} batches need"
    line = f"{count} attention; the first is {first.batch_id}: {first.why}"
    notes = tuple(_note(database, one, by_id[one.batch_id], location) for one in found[:NOTED])
    return Finding(False, line, {"batches": len(found)}, "\n".join([*header, *lines, *more]), notes)


def _note(database: Database, remark: Remark, row: BatchSummary, location: str | None) -> str:
    """Markdown about one batch: what happened and what to do."""
    why = remark.why if len(remark.why) <= WHY_CHARS else f"{remark.why[:WHY_CHARS]}…"
    line = f"{code(row.batch_id)}, **{row.status}**, {age_text(remark.age)}: {' '.join(why.split())}"
    if not _can_be_resubmitted(row):
        return f"{line}. Next: `{remark.command}`" if remark.command else line
    link = f" or {resubmit_link(location, database, row.batch_id)}" if location else ""
    return f"{line}. Next: `{resubmit(row.batch_id)}`{link}"


def _can_be_resubmitted(row: BatchSummary) -> bool:
    return bool(row.retryable_count) and not row.status.live and row.resubmitted_as is None


def on_time(rows: Sequence[BatchSummary], now: datetime) -> Finding:
    """Holds if OpenAI ended every batch within 20 hours: its limit is 24."""
    late = sorted((row for row in rows if is_overdue(row, now)), key=live_since)
    waiting = [row for row in rows if row.status.live]
    figures: dict[str, int | float | str] = {"live": len(waiting), "late": len(late)}
    picture = _ages(waiting, now)
    if waiting:
        oldest = now - min(live_since(row) for row in waiting)
        figures |= {"oldest": age_text(oldest), "oldest_hours": round(oldest / HOUR, 2)}
    if not late:
        return Finding(True, f"{len(waiting)} batches are live, none for more than 20 h", figures, picture)
    line = f"{late[0].batch_id} has been live for {figures['oldest']}; OpenAI's limit is 24 h"
    return Finding(False, line, figures, picture)


def _ages(waiting: Sequence[BatchSummary], now: datetime) -> str:
    """A picture of how many batches have been live for how long; empty if there is none."""
    if not waiting:
        return ""
    counts = Counter(min((now - live_since(row)) // HOUR, LAST_HOUR) for row in waiting)
    limit = LATE_AFTER // HOUR
    shown = [Bar(f"{hour} h", (counts[hour], 0)) for hour in range(limit)]
    shown += [Bar(f"{hour} h", (0, counts[hour])) for hour in range(limit, LAST_HOUR)]
    shown.append(Bar(f"{LAST_HOUR} h or more", (0, counts[LAST_HOUR])))
    return bars("live batches by age:", (Part("on time", BLUE), Part("late", ORANGE)), shown)


def output_kept(rows: Sequence[BatchSummary], now: datetime) -> Finding:
    """Holds if OpenAI keeps the output of every batch that is not published for at least five days more."""
    waiting = [row for row in rows if row.status.live and row.at_openai]
    left = sorted((OPENAI_KEEPS - (now - row.submitted_at), row.batch_id) for row in waiting)
    short = [(time, batch_id) for time, batch_id in left if time < DELETED_WITHIN]
    figures = {"not_published": len(left), "about_to_be_deleted": len(short)}
    if not short:
        return Finding(True, "OpenAI keeps the output of every live batch for five days or more", figures)
    time, batch_id = short[0]
    when = f"in {age_text(time)}" if time > timedelta(0) else "by now"
    return Finding(False, f"OpenAI deletes the output of {batch_id} {when}: run an ingest", figures)


def _line(database: Database, remark: Remark, row: BatchSummary) -> str:
    helped = "?" if row.retryable_count is None else str(row.retryable_count)
    counts = " | ".join(str(count or 0) for count in (row.embedded_count, row.failed_count, row.unfinished_count))
    command = f"`{remark.command}`" if remark.command else ""
    if _can_be_resubmitted(row):
        command = f"job `resubmit_{database.name}`, or `{resubmit(row.batch_id)}`"
    why = remark.why.replace("|", "\\|").replace("\n", " ")
    age = age_text(remark.age)
    return f"| `{row.batch_id}` | {row.status} | {age} | {counts} | {helped} | {why} | {command} |"
