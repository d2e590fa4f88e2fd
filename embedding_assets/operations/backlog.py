"""The backlog: every batch by database and status, and those that somebody must do something about. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from embedding_assets.ledger.batch_summary import BatchSummary, Status, format_instant
from embedding_assets.ledger.overdue import is_overdue, live_since
from embedding_assets.operations.ages import age_text
from embedding_assets.operations.commands import INGEST, reprocess, reset, resubmit, story
from embedding_assets.operations.costs import Cost, cost_of
from embedding_assets.submission.tokens import OPENAI_PRICES, Prices

Kind = Literal["set aside", "missing", "unknown status", "late", "trouble", "withdrawn", "not embedded", "ended"]
"""Why a batch is listed, the most pressing first."""


@dataclass(frozen=True)
class Group:
    """The batches of one database that have one status.

    `requested` sums what is known; `requested_unknown` counts the batches that do not tell it.
    """

    database: str
    status: Status
    batches: int
    oldest: datetime
    requested: int
    requested_unknown: int
    embedded: int
    failed: int
    unfinished: int
    cost: Cost

    @property
    def requested_text(self) -> str:
        """For a person: `100`, `100+` where some are not counted, `?` if none is."""
        if self.requested_unknown == self.batches:
            return "?"
        return f"{self.requested}{'+' * bool(self.requested_unknown)}"

    def document(self, now: datetime) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "database": self.database,
            "status": self.status.value,
            "batches": self.batches,
            "oldest_submitted_at": format_instant(self.oldest),
            "oldest_age_seconds": int((now - self.oldest).total_seconds()),
            "requested": self.requested,
            "requested_unknown": self.requested_unknown,
            "embedded": self.embedded,
            "failed": self.failed,
            "unfinished": self.unfinished,
            "cost_usd": self.cost.usd,
            "cost_unknown": self.cost.unknown,
        }


@dataclass(frozen=True)
class Totals:
    """All batches together, each record counted once: `sent_again` of them were also requests of a resubmission.

    `failed` and `unfinished` leave out what was sent again; the batch that it was sent in counts it.
    """

    batches: int
    requested: int
    embedded: int
    failed: int
    unfinished: int
    sent_again: int
    cost: Cost

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "batches": self.batches,
            "requested": self.requested,
            "embedded": self.embedded,
            "failed": self.failed,
            "unfinished": self.unfinished,
            "sent_again": self.sent_again,
            "cost_usd": self.cost.usd,
            "cost_unknown": self.cost.unknown,
        }


@dataclass(frozen=True)
class Remark:
    """A batch that wants attention, why, and the command that goes on; None if there is only waiting."""

    batch_id: str
    status: Status
    kind: Kind
    age: timedelta
    why: str
    command: str | None

    @property
    def summary(self) -> str:
        """One line for a person."""
        line = f"{self.batch_id}  {self.status}  {age_text(self.age)}  {self.why}"
        return f"{line}; `{self.command}`" if self.command else line

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"batch_id": self.batch_id, "kind": self.kind, "why": self.why, "command": self.command}


def groups(
    rows: Sequence[BatchSummary], databases: Mapping[str, str], prices: Prices = OPENAI_PRICES
) -> list[Group]:
    """By database and status, in the order of `databases` (name by batch type) and of the statuses."""
    names = list(dict.fromkeys([*databases.values(), *(_database(row, databases) for row in rows)]))
    chosen = {
        (name, status): [row for row in rows if row.status is status and _database(row, databases) == name]
        for name in names
        for status in Status
    }
    return [_group(name, status, batches, prices) for (name, status), batches in chosen.items() if batches]


def totals(rows: Sequence[BatchSummary], prices: Prices = OPENAI_PRICES) -> Totals:
    """The sum of all rows. A batch counts as sent again if both it and its child are among them."""
    there = {row.batch_id for row in rows}
    again: Counter[str] = Counter()
    for row in rows:
        if row.parent_batch_id in there and row.rebuild is None:
            again[str(row.parent_batch_id)] += requested_of(row) or 0
    failed = unfinished = 0
    for row in rows:
        # What did not finish can always be sent again, so it is what was sent again first.
        unfinished += max(0, (row.unfinished_count or 0) - again[row.batch_id])
        rest = max(0, again[row.batch_id] - (row.unfinished_count or 0))
        failed += max(0, (row.failed_count or 0) - rest)
    return Totals(
        batches=len(rows),
        requested=sum(requested_of(row) or 0 for row in rows) - again.total(),
        embedded=sum(row.embedded_count or 0 for row in rows),
        failed=failed,
        unfinished=unfinished,
        sent_again=again.total(),
        cost=cost_of(rows, prices),
    )


def remarks(rows: Sequence[BatchSummary], withdrawn: Mapping[str, str], now: datetime) -> list[Remark]:
    """What somebody must know or do, the most pressing kind first, the oldest first of each."""
    order = get_args(Kind)
    found = [remark for row in rows if (remark := _remark(row, withdrawn, now)) is not None]
    return sorted(found, key=lambda remark: (order.index(remark.kind), -remark.age.total_seconds()))


def _database(row: BatchSummary, databases: Mapping[str, str]) -> str:
    return databases.get(row.batch_type, row.batch_type)


def _group(name: str, status: Status, rows: Sequence[BatchSummary], prices: Prices) -> Group:
    requested = [count for row in rows if (count := requested_of(row)) is not None]
    return Group(
        database=name,
        status=status,
        batches=len(rows),
        oldest=min(row.submitted_at for row in rows),
        requested=sum(requested),
        requested_unknown=len(rows) - len(requested),
        embedded=sum(row.embedded_count or 0 for row in rows),
        failed=sum(row.failed_count or 0 for row in rows),
        unfinished=sum(row.unfinished_count or 0 for row in rows),
        cost=cost_of(rows, prices),
    )


def requested_of(row: BatchSummary) -> int | None:
    """How many requests a row tells of: by itself, or as the sum of what became of them."""
    if row.request_count is not None:
        return row.request_count
    if row.is_deletion:
        return 0
    ended = (row.embedded_count, row.failed_count, row.unfinished_count)
    known = [count for count in ended if count is not None]
    return sum(known) if len(known) == len(ended) else None


def _remark(row: BatchSummary, withdrawn: Mapping[str, str], now: datetime) -> Remark | None:
    found = next(_reasons(row, withdrawn, now), None)
    if found is None:
        return None
    kind, why, command = found
    since = live_since(row) if row.status.live else row.submitted_at
    return Remark(row.batch_id, row.status, kind, now - since, why, command)


def _reasons(
    row: BatchSummary, withdrawn: Mapping[str, str], now: datetime
) -> Iterator[tuple[Kind, str, str | None]]:
    error = f"; {row.error}" if row.error else ""
    if row.status.live and row.set_aside is not None:
        yield "set aside", f"set aside: {row.set_aside}", reset(row.batch_id)
    if row.status.live and row.missing_since is not None:
        since = format_instant(row.missing_since)
        yield "missing", f"{row.error or 'OpenAI does not show it'}, since {since}; it is looked for again", None
    if row.status.live and row.openai_status is not None:
        yield "unknown status", f"OpenAI says {row.openai_status!r}, which is none of its statuses", None
    if is_overdue(row, now):
        yield "late", f"overdue: OpenAI's limit is 24 h{error}", story(row.batch_id)
    if row.status.live and row.error:
        yield "trouble", f"{row.error}; it is tried again", INGEST
    if row.status.live:
        return
    if row.batch_id in withdrawn:
        yield "withdrawn", "withdrawn by a rollback", reprocess(row.batch_id)
    if row.acknowledged is not None or row.resubmitted_as is not None:
        return
    if row.unfinished_count or row.failed_count:
        helped = row.unfinished_count if row.retryable_count is None else row.retryable_count
        sure = row.unfinished_count and helped and row.status is not Status.FAILED
        command = resubmit(row.batch_id) if sure else story(row.batch_id)
        counts = f"{row.failed_count or 0} failed, {row.unfinished_count or 0} unfinished"
        yield "not embedded", counts + error, command
    if row.error:
        yield "ended", row.error, story(row.batch_id)
