"""Submitting files: split by the files alone, then only what is neither published nor on its way is sent.

A text is embedded once: records with equal text share a request, and a record whose text is published takes that
vector, in a batch that OpenAI has no part in. With `now` the endpoint answers at once, at twice the price.

Promise: every file is read to its end and checked before anything is sent. Whatever happens in between, the same
files submitted again end in each record being sent once: a batch's id is a function of what it is about and of
how often that was submitted before, and it is claimed before it is made. One process at a time decides what of a
database is left to send: of two overlapping files submitted at once each record is sent once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from embedding_assets.errors import InputError
from embedding_assets.ledger.batch_summary import LIVE, BatchSummary
from embedding_assets.progress import Pace
from embedding_assets.submission.claims import DatabaseClaim
from embedding_assets.submission.part_sender import PartDone, PartSender
from embedding_assets.submission.parts import (
    AT_ONCE,
    EmbeddingModel,
    Limits,
    Part,
    Splitter,
    split_deletions,
)
from embedding_assets.submission.record_file import (
    TOKENS_A_TEXT,
    Record,
    name_of,
    read_ids,
    read_records,
)
from embedding_assets.submission.remaining import Remaining, remaining_of
from embedding_assets.submission.sender import Sender
from embedding_assets.submission.submission_index import SubmissionIndex, everything_submitted
from embedding_assets.submission.tokens import OPENAI_PRICES, Prices
from embedding_assets.text.bounded_text import shown
from embedding_assets.versions.base_cache import BaseCache

RECORDS_A_LINE = 20_000
"""Records read between two lines of progress."""
ROWS_AT_ONCE = 8
"""Ids of a part that are looked up at once."""


@dataclass
class Submission:
    """What was submitted, or would be: `requests` counts records, `sent` the requests that OpenAI gets for them.

    `reused` of the records take a vector that is published. `skipped` are records whose latest submission is the
    same. `deferred` are records that wait until fewer tokens are enqueued; the same command submits them then.
    """

    batches: list[str] = field(default_factory=list)
    requests: int = 0
    sent: int = 0
    reused: int = 0
    skipped: int = 0
    tokens: int = 0
    price_usd: float | None = None
    deletions: int = 0
    deferred: int = 0

    def add(self, other: Submission) -> None:
        """Count what another submission did as well."""
        self.batches += other.batches
        self.requests += other.requests
        self.sent += other.sent
        self.reused += other.reused
        self.skipped += other.skipped
        self.tokens += other.tokens
        self.deletions += other.deletions
        self.deferred += other.deferred
        both = (self.price_usd, other.price_usd)
        self.price_usd = None if both[0] is None or both[1] is None else both[0] + both[1]


@dataclass(frozen=True)
class Submitter:
    """Submits records of one database.

    `enqueued_tokens` is how many OpenAI takes at once; None means any number. With `force`, every record is sent
    by itself, also if it, or its text, is published or on its way. `cache` may have the published version. With
    `dry_run` nothing is sent or written. With `most_gone` the files are the whole set: other records are deleted,
    if they are not more than this share of all. With `now` OpenAI answers at once instead of in a batch.
    `text_tokens` is how many a text may have.
    `confirm` gets what would be submitted before anything is; what it raises stops the submission.
    """

    sender: Sender
    asked: EmbeddingModel
    enqueued_tokens: int | None = None
    force: bool = False
    dry_run: bool = False
    cache: BaseCache | None = None
    most_gone: float | None = None
    now: bool = False
    prices: Prices = OPENAI_PRICES
    text_tokens: int = TOKENS_A_TEXT
    confirm: Callable[[Submission], None] | None = None

    def submit(
        self, files: Sequence[Path], deletions: Path | None = None, limits: Limits | None = None
    ) -> Submission:
        """Submit every record of `files`, and the deletion of every id of `deletions`.

        Raises InputError, naming file and line, before anything is sent.
        """
        limits = limits or (AT_ONCE if self.now else Limits(tokens=self.enqueued_tokens))
        with tempfile.TemporaryDirectory(prefix="embedding-assets-parts-") as name:
            parts = self._parts(files, deletions, Path(name), limits)
            if self.dry_run:
                return self._submit_whole(parts, Path(name), None)
            if self.confirm is not None:
                self.confirm(self._submit_whole(parts, Path(name), None))
            with self.sender.alone() as alone:
                return self._submit_whole(parts, Path(name), alone)

    def _submit_whole(self, parts: list[Part], folder: Path, alone: DatabaseClaim | None) -> Submission:
        """Submit the parts, and the deletion of what is in none of them if they are the whole set."""
        sender = self.sender
        ids: set[str] = set()
        texts: set[bytes] = set()
        for line in chain.from_iterable(part.lines() for part in parts):
            ids.add(line.id)
            if line.text_sha256 is not None and not self.force:
                texts.add(line.text_sha256)
        if self.most_gone is not None:
            there = everything_submitted(sender.store, sender.ledger, sender.database)
            gone = sorted(there - ids)
            if len(gone) > self.most_gone * len(there):
                raise InputError(
                    f"{len(gone)} of {len(there)} records of {sender.database.name} are in none of the files and "
                    "would be deleted; --yes deletes them"
                )
            if gone:
                parts = [*parts, split_deletions(sender.database, gone, folder / "gone")]
                ids.update(gone)
        known = SubmissionIndex(sender.store, sender.ledger, sender.database, ids, texts)
        return self._submit(parts, known, alone)

    def _parts(self, files: Sequence[Path], deletions: Path | None, folder: Path, limits: Limits) -> list[Part]:
        database = self.sender.database
        splitter = Splitter(database, self.asked, folder, limits, singly=self.force)
        for file in files:
            splitter.add(self._counted(read_records(file, self.text_tokens), file))
        parts = splitter.close()
        if deletions is None:
            return parts
        gone = read_ids(deletions)
        submitted = {line.id for part in parts for line in part.lines()}
        both = next((record_id for record_id in gone if record_id in submitted), None)
        if both is not None:
            raise InputError(
                f"{name_of(deletions)}: the id {shown(both)} is also submitted by one of the other files"
            )
        return [*parts, split_deletions(database, gone, folder / "deletions")]

    def _counted(self, records: Iterator[Record], file: Path) -> Iterator[Record]:
        for number, record in enumerate(records, start=1):
            yield record
            if number % RECORDS_A_LINE == 0:
                self.sender.progress(f"{number:,} records read from {name_of(file)}")

    def _submit(self, parts: Sequence[Part], known: SubmissionIndex, alone: DatabaseClaim | None) -> Submission:
        """Submit the parts under the claim to the database; without a claim nothing is sent."""
        submission = Submission()
        enqueued = self._enqueued() if self.enqueued_tokens is not None else 0
        pace = Pace(len(parts), f"batches sent to {self.sender.database.name}")
        for number, part in enumerate(parts):
            self.sender.progress(pace.line(number))
            done = self._submit_part(part, known, enqueued + submission.tokens, alone)
            records = sum(one.records for one in done.sent)
            submission.batches += [one.batch_id for one in done.sent]
            submission.tokens += sum(one.tokens for one in done.sent)
            submission.deferred += done.deferred
            submission.skipped += max(0, part.records - records - done.deferred)
            if part.deletion:
                submission.deletions += records
            else:
                submission.requests += records
                submission.sent += sum(one.requests for one in done.sent)
                submission.reused += sum(one.records for one in done.sent if one.local)
        submission.price_usd = self.prices.usd(submission.tokens, self.asked.model, at_once=self.now)
        return submission

    def _enqueued(self) -> int:
        """Tokens of all live batches of this model at OpenAI, as far as their rows tell."""
        found = (row for status in LIVE for row in self.sender.ledger.by_status(status))
        rows = (row for row in found if isinstance(row, BatchSummary) and row.at_openai)
        return sum(row.token_count or 0 for row in rows if row.model == self.asked.model)

    def _submit_part(
        self, part: Part, known: SubmissionIndex, enqueued: int, alone: DatabaseClaim | None
    ) -> PartDone:
        """Submit the records whose vector is published, which costs nothing, then the others."""
        done = PartDone()
        if not part.deletion and not self.force:
            self._submit_way(part, known, enqueued, alone, done, local=True)
        self._submit_way(part, known, enqueued, alone, done, local=False)
        return done

    def _submit_way(
        self,
        part: Part,
        known: SubmissionIndex,
        enqueued: int,
        alone: DatabaseClaim | None,
        done: PartDone,
        *,
        local: bool,
    ) -> None:
        parts = PartSender(self.sender, self.asked, self.force, self.now, self.cache)
        for batch_id in self._unused_ids(part, known, local=local):
            known.refresh()
            remaining = remaining_of(part, known, local=local, force=self.force)
            if not remaining.ids:
                break
            if self._over_budget(part, remaining, enqueued):
                done.deferred = len(remaining.ids)
                break
            if alone is None:
                done.sent.append(remaining.sent_as(batch_id, local=local))
                break
            if parts.send(alone, part, known, batch_id, done, local=local):
                break

    def _unused_ids(self, part: Part, known: SubmissionIndex, *, local: bool) -> Iterator[str]:
        """Ids that no row has; the rows there are become known, also if the table's index is late."""
        ids = part.batch_ids(local=local)
        while True:
            some = list(islice(ids, ROWS_AT_ONCE))
            rows = self.sender.ledger.get_many(some)
            for row in rows.values():
                known.note(row)
            yield from (batch_id for batch_id in some if batch_id not in rows)

    def _over_budget(self, part: Part, remaining: Remaining, enqueued: int) -> bool:
        budget = self.enqueued_tokens
        return budget is not None and remaining.tokens > 0 and enqueued + remaining.tokens > budget
