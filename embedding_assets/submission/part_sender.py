"""One batch of what remains of a part: at OpenAI, answered by OpenAI at once, or with published vectors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from embedding_assets.ledger.batch_summary import BatchSummary
from embedding_assets.rows.arrow import Vector
from embedding_assets.submission.claims import BatchClaim, DatabaseClaim
from embedding_assets.submission.parts import EmbeddingModel, Line, Part
from embedding_assets.submission.remaining import Remaining, Sent, remaining_of
from embedding_assets.submission.sender import Sender
from embedding_assets.submission.submission_index import SubmissionIndex
from embedding_assets.versions.base_cache import BaseCache
from embedding_assets.versions.reader import verified_vectors


@dataclass
class PartDone:
    """What became of one part: its batches, and the records that must wait."""

    sent: list[Sent] = field(default_factory=list)
    deferred: int = 0


@dataclass(frozen=True)
class PartSender:
    """Sends parts; `force`, `now` and `cache` are those of the `Submitter`."""

    sender: Sender
    asked: EmbeddingModel
    force: bool
    now: bool
    cache: BaseCache | None

    def send(
        self,
        alone: DatabaseClaim,
        part: Part,
        known: SubmissionIndex,
        batch_id: str,
        done: PartDone,
        *,
        local: bool,
    ) -> bool:
        """Submit what remains under this id. False if the id turned out to be used: then the rest needs another.

        What remains is asked again under the claim: another submit may have sent it while this one waited.
        """
        sender = self.sender
        asked = {"model": self.asked.model, "dimensions": self.asked.dimensions}
        row = {} if part.deletion else asked
        with sender.claim(alone, batch_id) as claim:
            used = sender.ledger.get_many([batch_id]).get(batch_id)
            if used is None and not part.deletion and not local:
                used = sender.adopt(batch_id, row)
                if used is not None:
                    records = used.request_count or 0
                    requests = records if used.sent_count is None else used.sent_count
                    done.sent.append(Sent(batch_id, records, requests, used.token_count or 0, local=False))
            if used is not None:
                known.note(used)
                return self.force
            known.refresh()
            remaining = remaining_of(part, known, local=local, force=self.force)
            if not remaining.ids:
                return True
            known.note(self._make(claim, part, known, batch_id, remaining, row, local=local))
            done.sent.append(remaining.sent_as(batch_id, local=local))
            return True

    def _make(
        self,
        claim: BatchClaim,
        part: Part,
        known: SubmissionIndex,
        batch_id: str,
        remaining: Remaining,
        row: dict[str, Any],
        *,
        local: bool,
    ) -> BatchSummary:
        count = {"deletion_count" if part.deletion else "request_count": len(remaining.ids)}
        lines = (line for line in part.lines() if line.id in remaining.ids)
        fields = {**row, **count, **remaining.instants(), "token_count": remaining.tokens}
        if part.deletion:
            return self.sender.write_deletions(batch_id, lines, fields)
        if local:
            return self._write_answered(batch_id, list(lines), known, fields)
        send = self.sender.send_at_once if self.now else self.sender.send
        return send(claim, batch_id, lines, self.asked, fields, singly=self.force)

    def _write_answered(
        self, batch_id: str, lines: list[Line], known: SubmissionIndex, fields: dict[str, Any]
    ) -> BatchSummary:
        """A batch of records whose texts are published: each distinct one with the vector that it has there."""
        assert known.published is not None, "a text is published in a version"
        answered: dict[str, str] = {}
        for line in lines:
            there = known.published_with(line.text_sha256)
            assert there is not None, "only records whose text is published remain for this way"
            answered.setdefault(there, line.id)
        vectors: Iterator[tuple[str, Vector]] = verified_vectors(
            self.sender.store, known.published, answered.keys(), self.cache
        )
        answers = ((answered[record_id], vector) for record_id, vector in vectors)
        return self.sender.write_answered(batch_id, lines, answers, fields)
