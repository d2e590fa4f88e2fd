"""The story of one batch: what became of its requests, when what happened, and what to do next. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from embedding_assets.ledger.batch_summary import BatchSummary, format_instant, parse_instant
from embedding_assets.ledger.ids import planned_at
from embedding_assets.ledger.overdue import is_overdue
from embedding_assets.operations.ages import age_text
from embedding_assets.operations.backlog import requested_of
from embedding_assets.operations.costs import batch_cost
from embedding_assets.operations.facts import BatchFacts
from embedding_assets.operations.next_step import NextStep, next_step
from embedding_assets.submission.tokens import OPENAI_PRICES, Prices

UNDECIDED = ("wait", "error")
"""Actions of a poll that tells no counts yet."""


@dataclass(frozen=True)
class Balance:
    """What became of a batch's requests; None if nothing tells it yet. `source`: `row`, `poll` or `none`."""

    requested: int | None
    embedded: int | None
    failed: int | None
    unfinished: int | None
    source: str

    @property
    def accounted(self) -> int | None:
        """The requests of which it is known what became of them."""
        parts = (self.embedded, self.failed, self.unfinished)
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None

    @property
    def balanced(self) -> bool | None:
        """Whether requested = embedded + failed + unfinished; None if that cannot be said yet."""
        if self.requested is None or self.accounted is None:
            return None
        return self.requested == self.accounted

    @property
    def summary(self) -> str:
        """One line for a person."""
        if self.accounted is None:
            asked = (
                "how much it requested"
                if self.requested is None
                else f"requested {self.requested}; what became of it"
            )
            return f"{asked} is not known yet"
        if self.accounted == 0 and not self.requested:
            return (
                "requested nothing"
                if self.requested == 0
                else "what it requested is not known; nothing is embedded"
            )
        parts = f"{self.embedded} embedded + {self.failed} failed + {self.unfinished} unfinished"
        if self.balanced is False:
            return f"requested {self.requested}, but {parts} = {self.accounted}: this does not balance"
        polled = " (as polled; not marked yet)" if self.source == "poll" else ""
        return f"requested {self.accounted} = {parts}{polled}"


@dataclass(frozen=True)
class Happening:
    """One line of the timeline."""

    at: datetime
    what: str


@dataclass(frozen=True)
class Story:
    """The story of one batch."""

    facts: BatchFacts
    balance: Balance
    timeline: tuple[Happening, ...]
    late: bool
    cost_usd: float | None
    next: NextStep

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        facts = self.facts
        publication = facts.publication
        return {
            "database": facts.database,
            "balance": {**asdict(self.balance), "balanced": self.balance.balanced},
            "late": self.late,
            "cost_usd": self.cost_usd,
            "timeline": [{"at": format_instant(one.at), "what": one.what} for one in self.timeline],
            "artefacts": {
                one.name.replace(" ", "_"): {"location": one.location, "there": one.there}
                for one in facts.artefacts
            },
            "published": None
            if publication is None
            else {**asdict(publication), "created_at": format_instant(publication.created_at)},
            "errors": [group.document() for group in facts.errors],
            "attempts": [
                {"batch_id": row.batch_id, "attempt": row.attempt, "status": row.status.value}
                for row in facts.attempts
            ],
            "next": asdict(self.next),
        }


def tell_story(facts: BatchFacts, now: datetime, prices: Prices = OPENAI_PRICES) -> Story:
    """The story that the facts tell."""
    return Story(
        facts=facts,
        balance=balance_of(facts),
        timeline=tuple(_timeline(facts)),
        late=is_overdue(facts.row, now),
        cost_usd=batch_cost(facts.row, prices),
        next=next_step(facts, now),
    )


def balance_of(facts: BatchFacts) -> Balance:
    """From the row of a final batch; of a live one from its poll, if that is of this generation and has counts."""
    row, result = facts.row, facts.result
    if row.is_deletion:
        return Balance(0, 0, 0, 0, "row")
    if not row.status.live and requested_of(row) is not None:
        counts = (row.embedded_count, row.failed_count, row.unfinished_count)
        if None not in counts:
            return Balance(requested_of(row) or None, *counts, "row")
    if result is not None and result.generation == row.generation and result.action not in UNDECIDED:
        counts = (result.embedding_count, result.failed_count, result.unfinished_count)
        return Balance(row.request_count if row.generation == 0 else sum(counts), *counts, "poll")
    return Balance(row.request_count, None, None, None, "none")


def _timeline(facts: BatchFacts) -> Iterator[Happening]:
    """In the order in which it happened."""
    yield from sorted(_happened(facts), key=lambda one: one.at)


def _happened(facts: BatchFacts) -> Iterator[Happening]:
    """In their natural order: several of them know only the second, and those of one second stay in this order."""
    row, result, publication = facts.row, facts.result, facts.publication
    for attempt in facts.attempts:
        number = f", attempt {attempt.attempt}" if attempt.attempt else ""
        if attempt.batch_id == row.batch_id:
            yield Happening(row.submitted_at, f"submitted {_where(row)}{number}")
        else:
            whose = "parent" if attempt.submitted_at < row.submitted_at else "submitted again"
            yield Happening(attempt.submitted_at, f"{whose}: batch {attempt.batch_id}{number}, {attempt.status}")
    if row.reset_at is not None:
        again = f"generation {row.generation}" if row.generation else "its row was reset"
        yield Happening(row.reset_at, f"opened again: {again}" if row.generation else again)
    planned = planned_at(publication.execution_id) if publication is not None else None
    if publication is not None and planned is not None:
        yield Happening(planned, f"planned in execution {publication.execution_id}")
    if facts.polled_at is not None and result is not None:
        yield Happening(facts.polled_at, f"polled: OpenAI's status {result.batch_status} ({result.action})")
    if publication is not None:
        yield Happening(publication.created_at, f"published in version {publication.version}")
    if row.acknowledged_at is not None:
        yield Happening(row.acknowledged_at, f"acknowledged: {row.acknowledged}")
    ended = _instant(row.completed_at)
    if ended is not None and not row.status.live:
        yield Happening(ended, f"marked {row.status}")


def files_kept(row: BatchSummary) -> str | None:
    """How long OpenAI was asked to keep the files of a batch; None if nothing was asked."""
    words = []
    if row.input_file_expires_at is not None:
        words.append(f"the input file until {row.input_file_expires_at:%Y-%m-%d %H:%M}Z")
    if row.output_file_seconds is not None:
        words.append(f"the output for {age_text(timedelta(seconds=row.output_file_seconds))}")
    return " and ".join(words) or None


def _where(row: BatchSummary) -> str:
    """What a batch was submitted as."""
    if row.at_openai:
        return f"to OpenAI as {row.openai_batch_id}"
    if row.is_deletion:
        return "deletions"
    if row.answered_at_once:
        return "to OpenAI's embeddings endpoint, which answered at once"
    return "records whose vectors were there already: nothing was sent to OpenAI"


def _instant(text: str | None) -> datetime | None:
    try:
        return parse_instant(text) if text else None
    except ValueError:
        return None
