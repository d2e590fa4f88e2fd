"""What to do next about one batch, for every state that it can be in. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from embedding_assets.ledger.batch_summary import BatchSummary, Status, format_instant
from embedding_assets.ledger.ledger import OWN_FAILURES
from embedding_assets.ledger.overdue import is_overdue, live_since
from embedding_assets.openai_batches.absence import is_old
from embedding_assets.operations.ages import age_text
from embedding_assets.operations.commands import INGEST, reprocess, reset, resubmit, story
from embedding_assets.operations.facts import BatchFacts
from embedding_assets.text.counted import counted


@dataclass(frozen=True)
class NextStep:
    """Why, and the command; None if nothing is to be done."""

    why: str
    command: str | None

    @property
    def summary(self) -> str:
        """One line for a person."""
        return f"{self.why}: `{self.command}`" if self.command else self.why


def next_step(facts: BatchFacts, now: datetime) -> NextStep:
    """What a person can do about this batch."""
    return _of_a_live_one(facts, now) if facts.row.status.live else _of_a_final_one(facts, now)


def _of_a_live_one(facts: BatchFacts, now: datetime) -> NextStep:
    row, result, publication = facts.row, facts.result, facts.publication
    if row.set_aside is not None:
        return NextStep(f"it is set aside ({row.set_aside}); once that is mended", reset(row.batch_id))
    if publication is not None:
        return NextStep(f"it is published in version {publication.version}, and the next ingest marks it", INGEST)
    if result is not None and result.generation == row.generation and result.has_delta:
        return NextStep("it is polled and not published yet; the next execution does that", INGEST)
    if row.missing_since is not None:
        since = format_instant(row.missing_since)
        return NextStep(
            f"{row.error or 'OpenAI does not show it'}, since {since}; each ingest looks again", INGEST
        )
    if row.openai_status is not None:
        word = f"OpenAI says {row.openai_status!r}, which is none of its statuses"
        return NextStep(f"{word}; the batch stays live until OpenAI ends it", INGEST)
    if row.ingest_attempts:
        tries = f"{row.ingest_attempts} of {OWN_FAILURES} tries failed ({row.error})"
        return NextStep(f"{tries}; the next execution tries again", INGEST)
    if is_overdue(row, now):
        age = age_text(now - live_since(row))
        return NextStep(
            f"it has been live for {age}, OpenAI's limit is 24 h; an ingest publishes what there is",
            INGEST,
        )
    if row.is_deletion:
        return NextStep("the next execution takes its records out", INGEST)
    if row.is_local:
        return NextStep("the next execution publishes it: its vectors are there already", INGEST)
    if row.generation:
        return NextStep("it was opened again; the next execution polls and publishes it again", INGEST)
    return NextStep("the first execution after OpenAI has finished publishes it", INGEST)


def _of_a_final_one(facts: BatchFacts, now: datetime) -> NextStep:
    row = facts.row
    if facts.publication is not None and facts.publication.without is not None:
        return NextStep("nothing, unless the withdrawn records should be published again", reprocess(row.batch_id))
    missing = (row.failed_count or 0) + (row.unfinished_count or 0)
    if row.resubmitted_as is not None:
        beyond = max(0, missing - (row.retryable_count or 0))
        rest = (
            f"; no retry can help the other {counted(beyond, 'request')}, which errors.jsonl lists"
            if beyond
            else ""
        )
        return NextStep(f"what a retry can help was submitted again{rest}", story(row.resubmitted_as))
    if row.acknowledged is not None:
        return NextStep(f"nothing: it was acknowledged ({row.acknowledged})", None)
    free = _helped_for_free(facts, now)
    if free is not None:
        return NextStep(free, reprocess(row.batch_id))
    helped = _helped_by_a_retry(facts)
    if helped:
        return NextStep(f"{helped} of its requests can be sent again", resubmit(row.batch_id))
    if missing:
        return NextStep(
            f"no retry can help its {counted(missing, 'request')} without an embedding: "
            "mend the records that errors.jsonl lists and submit them",
            None,
        )
    if row.embedded_count:
        return NextStep("nothing: it is finished", None)
    return NextStep(_nothing_known(row), None)


def _helped_for_free(facts: BatchFacts, now: datetime) -> str | None:
    """Why `reprocess`, which costs nothing, may bring what a retry would pay for again; None if it cannot."""
    row, result = facts.row, facts.result
    if result is None or result.generation != row.generation:
        return None
    if result.records_misfit:
        return f"its records do not fit ({result.message}); mend them, then publish what is paid for already"
    if is_old(row, now) or not (row.failed_count or row.unfinished_count):
        return None
    if result.missing and not row.embedded_count:
        again = f"if that does not help, `{resubmit(row.batch_id)}` pays again"
        return f"{result.message}; looking again costs nothing ({again})"
    if result.unknown_count and row.unfinished_count:
        strangers = f"{counted(result.unknown_count, 'answer is', 'answers are')} to no request"
        without = f"{counted(row.unfinished_count, 'request')} without an answer"
        return f"{strangers}, {without}: if the records are wrong, mend them"
    return None


def _helped_by_a_retry(facts: BatchFacts) -> int:
    """How many requests a retry can help: as the row says, or their errors; without those, the unfinished ones."""
    if facts.row.retryable_count is not None:
        return facts.row.retryable_count
    if facts.errors:
        return sum(group.count for group in facts.errors if group.retryable)
    return facts.row.unfinished_count or 0


def _nothing_known(row: BatchSummary) -> str:
    if row.status is Status.COMPLETED:
        return "nothing: it is finished"
    reason = f" ({row.error})" if row.error else ""
    return f"nothing came of it{reason}; what was requested is not known: submit the records again"
