"""Resubmitting: of a batch that has ended, the requests that a retry can help, as a new batch.

The new batch has its parent's precedence: what was submitted later than the parent still wins. A batch is
resubmitted once; its child, if it ends no better, is resubmitted in turn, up to a bounded number of attempts.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from embedding_assets.bucket.keys import errors_key, records_key
from embedding_assets.errors import BatchError, InputError, NotFoundError, TransientError
from embedding_assets.ledger.batch_summary import BatchSummary, parse_instant
from embedding_assets.openai_batches.absence import is_old
from embedding_assets.openai_batches.batch_status import NOT_FOUND
from embedding_assets.openai_batches.poll_result import RequestError, read_errors
from embedding_assets.openai_batches.requests import Request, read_input_file, read_records
from embedding_assets.submission.claims import DatabaseClaim
from embedding_assets.submission.parts import EmbeddingModel, Line, line_of
from embedding_assets.submission.record_file import Record
from embedding_assets.submission.sender import Sender
from embedding_assets.submission.shared_requests import needed
from embedding_assets.submission.submission_index import SubmissionIndex
from embedding_assets.submission.submit import Submission
from embedding_assets.submission.tokens import OPENAI_PRICES, Prices, count_tokens
from embedding_assets.text.bounded_text import shown

TOKEN_LIMIT = "token_limit_exceeded"
"""OpenAI's code for a batch that it failed because too many tokens were enqueued: sent at once it fails again."""


@dataclass(frozen=True)
class Policy:
    """How often requests are tried, and how long the first of them waits; each later one twice as long."""

    max_attempts: int
    first_wait: timedelta

    def due_at(self, row: BatchSummary) -> datetime:
        """When a batch may be resubmitted without anybody asking for it."""
        ended = parse_instant(row.completed_at) if row.completed_at else row.submitted_at
        return ended + self.first_wait * (1 << (attempt_of(row) - 1))


def attempt_of(row: BatchSummary) -> int:
    """Attempt number of a batch's requests, from 1."""
    return row.attempt or 1


def child_id(row: BatchSummary) -> str:
    """The id of a batch's resubmission: there is one for each time that the batch ended."""
    digest = hashlib.sha256(f"{row.batch_type} {row.batch_id} {row.generation}".encode())
    return f"batch-{digest.hexdigest()[:32]}"


def may_be_resubmitted(row: BatchSummary, policy: Policy) -> bool:
    """Whether a final batch has requests that a retry can help, not tried again yet nor left as they are."""
    return (
        not row.status.live
        and not row.is_deletion
        and row.resubmitted_as is None
        and row.acknowledged is None
        and bool(row.retryable_count)
        and attempt_of(row) < policy.max_attempts
    )


@dataclass(frozen=True)
class Resubmitter:
    """Resubmits batches of one database. `asked` is for batches whose rows do not tell their model."""

    sender: Sender
    asked: EmbeddingModel
    policy: Policy
    dry_run: bool = False
    prices: Prices = OPENAI_PRICES

    def resubmit(self, row: BatchSummary, *, now: bool = False) -> Submission:
        """Submit what a retry can help of one batch. With `now`, also if that is to wait.

        If nothing is left that a retry can help, the row says so, and nobody comes back to it. Raises
        InputError if the batch is not to be resubmitted, with what to do instead; BatchError if nobody has
        the texts any more.
        """
        self.check(row)
        errors = [error for error in self._errors(row) if error.retryable]
        waits = self.policy.due_at(row)
        if not now and any(error.code == TOKEN_LIMIT for error in errors) and datetime.now(UTC) < waits:
            raise InputError(
                f"batch {row.batch_id} met OpenAI's limit of enqueued tokens and waits until "
                f"{waits:%Y-%m-%d %H:%M} UTC; --now sends it at once"
            )
        with tempfile.TemporaryDirectory(prefix="embedding-assets-resubmit-") as name:
            ids = {error.id for error in errors}
            try:
                lines = list(self._lines(row, ids, Path(name))) if ids else []
            except BatchError:
                self._note(row, None)
                raise
            if self.dry_run:
                return self._send(row, lines, None)
            with self.sender.alone() as alone:
                return self._send(row, lines, alone)

    def check(self, row: BatchSummary) -> None:
        """Raise InputError if a batch in this state is never resubmitted."""
        if row.status.live:
            raise InputError(f"batch {row.batch_id} is {row.status}: nobody knows yet what will be missing of it")
        if row.is_deletion:
            raise InputError(f"batch {row.batch_id} is one of deletions: `reprocess` brings it in again")
        if row.resubmitted_as is not None:
            raise InputError(f"batch {row.batch_id} was resubmitted as {row.resubmitted_as}")
        if attempt_of(row) >= self.policy.max_attempts:
            raise InputError(
                f"batch {row.batch_id} is attempt {attempt_of(row)} of the {self.policy.max_attempts} that "
                "EMBEDDING_ASSETS_MAX_ATTEMPTS allows"
            )

    def _errors(self, row: BatchSummary) -> list[RequestError]:
        found = self.sender.store.find(errors_key(row.batch_id))
        return read_errors(found.data) if found else []

    def _lines(self, row: BatchSummary, ids: set[str], folder: Path) -> Iterator[Line]:
        """The requests again, as `records/` has them, else as OpenAI's input file has them.

        Requests without a text (token ids, say) are left out. Raises BatchError if all of them are without.
        """
        asked = self._asked(row)
        path = folder / "requests"
        try:
            self.sender.store.download_file(records_key(row.batch_id), path)
        except NotFoundError:
            requests = self._input_file(row, path)
        else:
            requests = {**read_records(path, records_key(row.batch_id)).by_id}
            if any(requests[one].text is None for one in ids & requests.keys()):
                texts = self._input_file(row, folder / "input")
                requests = {
                    one: replace(request, text=texts[one].text) if one in texts else request
                    for one, request in requests.items()
                }
        wanted = [requests[one] for one in requests if one in ids]
        without = [request.id for request in wanted if request.text is None or request.problem is not None]
        if without:
            reason = (
                f"batch {row.batch_id}: {len(without)} of {len(wanted)} requests have no text that can be sent"
            )
            if len(without) == len(wanted):
                raise BatchError(f"{reason}, {shown(without[0])} for one")
            self.sender.progress(f"warning: {reason}, {shown(without[0])} for one; they are left out")
        for request in wanted:
            if request.text is None or request.problem is not None:
                continue
            document = request.document if request.document is not None else request.text
            tokens = count_tokens(request.text)
            yield line_of(Record(request.id, request.text, document, request.metadata, tokens), asked)

    def _input_file(self, row: BatchSummary, path: Path) -> dict[str, Request]:
        if not row.at_openai:
            raise BatchError(
                f"batch {row.batch_id}: {records_key(row.batch_id)}, which has its texts, is not there"
            )
        missing = f"batch {row.batch_id}: OpenAI does not show the file with its texts"
        remote = self.sender.openai.retrieve(row.openai_batch_id)
        if remote.status == NOT_FOUND and not is_old(row, datetime.now(UTC)):
            raise TransientError(f"{missing}: try again, perhaps with another key")
        if remote.input_file_id is None:
            raise BatchError(f"batch {row.batch_id}: neither {records_key(row.batch_id)} nor OpenAI has its texts")
        try:
            self.sender.openai.download(remote.input_file_id, path)
        except NotFoundError as error:
            if not is_old(row, datetime.now(UTC)):
                raise TransientError(f"{missing}: try again") from error
            raise BatchError(f"batch {row.batch_id}: OpenAI has deleted the file with its texts") from error
        return dict(read_input_file(path, f"OpenAI's input file of batch {row.batch_id}").by_id)

    def _asked(self, row: BatchSummary) -> EmbeddingModel:
        if row.model is None:
            return self.asked
        return EmbeddingModel(row.model, row.dimensions)

    def _send(self, row: BatchSummary, retried: list[Line], alone: DatabaseClaim | None) -> Submission:
        """Send what was not submitted since, under the claim to the database; without a claim nothing is sent."""
        batch_id = child_id(row)
        if self.sender.ledger.get_many([batch_id]):
            self._note(row, batch_id)
            return Submission(skipped=len(retried), price_usd=0.0)
        known = SubmissionIndex(
            self.sender.store, self.sender.ledger, self.sender.database, {line.id for line in retried}
        )
        known.refresh()
        lines = [line for line in retried if not _superseded(known, line.id, row)]
        submission = Submission(skipped=len(retried) - len(lines), price_usd=0.0)
        if not lines:
            self._note(row, None)
            return submission
        requests = needed(lines)
        submission.requests = len(lines)
        submission.sent = requests.count
        submission.tokens = requests.tokens
        submission.price_usd = self.prices.usd(submission.tokens, self._asked(row).model)
        submission.batches = [batch_id]
        if alone is not None:
            self._send_once(alone, row, batch_id, lines, submission.tokens)
        return submission

    def _send_once(
        self, alone: DatabaseClaim, row: BatchSummary, batch_id: str, lines: list[Line], tokens: int
    ) -> None:
        """Send the child, unless it is there already, and write its id into the parent's row."""
        asked = self._asked(row)
        fields = {
            "model": asked.model,
            "dimensions": asked.dimensions,
            "attempt": attempt_of(row) + 1,
            "parent_batch_id": row.batch_id,
            "precedence_at": row.precedence,
        }
        with self.sender.claim(alone, batch_id) as claim:
            child = self.sender.ledger.get_many([batch_id]).get(batch_id) or self.sender.adopt(batch_id, fields)
            if child is None:
                counts = {"request_count": len(lines), "token_count": tokens}
                self.sender.send(claim, batch_id, lines, asked, {**fields, **counts})
            self._note(row, batch_id)

    def _note(self, row: BatchSummary, child: str | None) -> None:
        if not self.dry_run:
            self.sender.ledger.note_resubmission(row, child)


def _superseded(known: SubmissionIndex, record_id: str, parent: BatchSummary) -> bool:
    """Whether the record was submitted by another batch since: later, or as an earlier child of the parent."""
    latest = known.latest(record_id)
    if latest is None or latest.batch_id == parent.batch_id:
        return False
    return latest.precedence_at >= parent.precedence
