"""Sending one batch, exactly once: under its claim, found again at OpenAI where an earlier try came so far.

The order is `records/{batch_id}.jsonl`, OpenAI's batch, the row. Whoever dies in between leaves either nothing
that costs, or a batch whose metadata names it: the next one adopts it. What remains: a holder that stands still
past its lease exactly between its last check and OpenAI's answer may pay a second time, and says so.

If OpenAI answers at once, its answers take the place of its batch. They are one call: whoever dies between the
answer and its upload pays for that call again.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from embedding_assets.bucket.keys import answers_key, records_key
from embedding_assets.bucket.store import Store, StoredObject
from embedding_assets.databases import Database
from embedding_assets.errors import PreconditionError, TransientError
from embedding_assets.ledger.batch_summary import DELETION, LOCAL, BatchSummary, Status
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.ledger.locks import SubmitClaim
from embedding_assets.openai_batches.at_once import embed_at_once
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.openai_batches.output import answer_line, delivered_line
from embedding_assets.openai_batches.remote import RemoteBatch
from embedding_assets.progress import Progress
from embedding_assets.rows.arrow import Vector
from embedding_assets.submission.claims import BatchClaim, DatabaseClaim
from embedding_assets.submission.parts import EmbeddingModel, Line
from embedding_assets.submission.shared_requests import SharedRequests
from embedding_assets.submission.tokens import count_tokens

CREATE_TRIES = 4
CLOCKS_APART = timedelta(days=1)
"""How much older than its records a batch may seem at OpenAI."""


@dataclass(frozen=True)
class Sender:
    """Sends batches of one database."""

    store: Store
    ledger: Ledger
    openai: OpenAIBatches
    database: Database
    lease_seconds: float
    progress: Progress = lambda message: None
    first_wait_seconds: float = 1.0

    def alone(self) -> DatabaseClaim:
        """The right to decide what of the database is sent, and to send it; entering waits for whoever has it."""
        return DatabaseClaim(
            self.ledger.client,
            self.ledger.table,
            self.database,
            lease_seconds=self.lease_seconds,
            on_wait=self.progress,
        )

    def claim(self, alone: DatabaseClaim, batch_id: str) -> BatchClaim:
        """The right to send this batch; entering waits for whoever has it."""
        batch = SubmitClaim(
            self.ledger.client,
            self.ledger.table,
            batch_id,
            lease_seconds=self.lease_seconds,
            renewing=self.ledger.renewing_client(self.lease_seconds),
            on_wait=self.progress,
        )
        return BatchClaim(alone, batch)

    def adopt(self, batch_id: str, row: Mapping[str, Any]) -> BatchSummary | None:
        """Write the row of a batch that an earlier try made and did not come to write down; None without one.

        `row` are the fields that its row would have been given. What it was about lies in `records/`.
        """
        key = records_key(batch_id)
        stored = self._stored(key)
        if stored is None:
            return None
        made_as: str | None = LOCAL
        if self._stored(answers_key(batch_id)) is None:
            found = self.openai.find_batch(self._metadata(batch_id), stored.last_modified - CLOCKS_APART)
            made_as = None if found is None else found.id
        if made_as is None:
            return None
        self.progress(f"batch {batch_id} was made before as {made_as}: it is adopted")
        lines = [orjson.loads(line) for line in self.store.get(key).splitlines()]
        sent = [line["text"] for line in lines if line.get("request_id") in (None, line["id"])]
        counts = {
            "request_count": len(lines),
            "sent_count": len(sent),
            "token_count": sum(map(count_tokens, sent)),
        }
        return self._create_row(batch_id, made_as, {**row, **counts})

    def _stored(self, key: str) -> StoredObject | None:
        return next((entry for entry in self.store.list(key) if entry.key == key), None)

    def send(
        self,
        claim: BatchClaim,
        batch_id: str,
        lines: Iterable[Line],
        asked: EmbeddingModel,
        row: Mapping[str, Any],
        *,
        singly: bool = False,
    ) -> BatchSummary:
        """Send `lines` as the batch `batch_id`, of which there is none; return its row.

        Records with equal text share the request of the first; `singly`: each has its own. Raises LockError,
        before anything is paid for, if the claim was lost.
        """
        requests = SharedRequests(singly=singly)
        named = replace(asked, dimensions=self.openai.dialect.dimensions(asked.dimensions))
        with tempfile.TemporaryDirectory(prefix="embedding-assets-submit-") as name:
            records_file, requests_file = Path(name) / "records.jsonl", Path(name) / "requests.jsonl"
            with records_file.open("wb") as kept, requests_file.open("wb") as sent:
                for line in lines:
                    request_id = requests.of(line)
                    kept.write(line.answered_as(request_id))
                    if request_id == line.id:
                        sent.write(line.request(named))
            self.store.upload_file(records_file, records_key(batch_id))
            file_id = self.openai.upload_requests(requests_file)
        uploaded = datetime.now(UTC)
        remote = self._create_batch(claim, batch_id, file_id)
        kept_for = self._kept_for(uploaded)
        return self._create_row(batch_id, remote.id, {**row, **kept_for, "sent_count": requests.count})

    def send_at_once(
        self,
        claim: BatchClaim,
        batch_id: str,
        lines: Iterable[Line],
        asked: EmbeddingModel,
        row: Mapping[str, Any],
        *,
        singly: bool = False,
    ) -> BatchSummary:
        """Have `lines` answered by one call of the embeddings endpoint, and keep the answers; return the row.

        The call is made only after the records are kept, so that what was answered is adopted after a kill.
        Raises LockError, before anything is paid for, if the claim was lost.
        """
        requests = SharedRequests(singly=singly)
        texts: dict[str, str] = {}
        kept = []
        for line in lines:
            request_id = requests.of(line)
            kept.append(line.answered_as(request_id))
            if request_id == line.id:
                texts[line.id] = orjson.loads(line.stored)["text"]
        self._upload(records_key(batch_id), kept)
        claim.check()
        found = embed_at_once(self.openai, list(texts.values()), asked.model, asked.dimensions, self.progress)
        answers = zip(texts, found, strict=True)
        delivered = (delivered_line(one, value, asked.model) for one, value in answers if value is not None)
        self._upload(answers_key(batch_id), delivered)
        return self._create_row(batch_id, LOCAL, {**row, "sent_count": requests.count})

    def write_deletions(self, batch_id: str, lines: Iterable[Line], row: Mapping[str, Any]) -> BatchSummary:
        """Make a batch of deletions, of which there is none; return its row."""
        self._upload(records_key(batch_id), (line.stored for line in lines))
        return self._create_row(batch_id, DELETION, row)

    def write_answered(
        self, batch_id: str, lines: Iterable[Line], answers: Iterable[tuple[str, Vector]], row: Mapping[str, Any]
    ) -> BatchSummary:
        """Make a batch whose vectors are there already, of which there is none; return its row.

        `answers` has the vector of each distinct text, under the id of the first record that has it.
        """
        requests = SharedRequests()
        model = str(row["model"])
        self._upload(answers_key(batch_id), (answer_line(one, vector, model) for one, vector in answers))
        self._upload(records_key(batch_id), (line.answered_as(requests.of(line)) for line in lines))
        return self._create_row(batch_id, LOCAL, {**row, "sent_count": 0, "token_count": 0})

    def _upload(self, key: str, lines: Iterable[bytes]) -> None:
        with tempfile.TemporaryDirectory(prefix="embedding-assets-submit-") as name:
            path = Path(name) / "lines.jsonl"
            with path.open("wb") as sink:
                sink.writelines(lines)
            self.store.upload_file(path, key)

    def _create_batch(self, claim: BatchClaim, batch_id: str, file_id: str) -> RemoteBatch:
        """Start the batch. After an answer that was lost it is looked for before it is started again."""
        metadata = self._metadata(batch_id)
        began = datetime.now(UTC) - CLOCKS_APART
        for number in range(CREATE_TRIES):
            claim.check()
            try:
                return self.openai.create_batch(file_id, metadata)
            except TransientError as error:
                if number + 1 == CREATE_TRIES:
                    raise
                self.progress(f"{error}; looking whether batch {batch_id} was made")
                time.sleep(self.first_wait_seconds * 2**number)
                found = self.openai.find_batch(metadata, began)
                if found is not None:
                    return found
        raise AssertionError("unreachable: the last try returns or raises")

    def _kept_for(self, uploaded: datetime) -> dict[str, Any]:
        """How long OpenAI was asked to keep the files of a batch."""
        dialect = self.openai.dialect
        seconds = dialect.input_file_seconds
        return {
            "input_file_expires_at": uploaded + timedelta(seconds=seconds) if seconds else None,
            "output_file_seconds": dialect.output_file_seconds or None,
        }

    def _metadata(self, batch_id: str) -> dict[str, str]:
        return {"batch_id": batch_id, "database": self.database.name}

    def _create_row(self, batch_id: str, openai_batch_id: str, fields: Mapping[str, Any]) -> BatchSummary:
        row = BatchSummary(
            batch_id=batch_id,
            openai_batch_id=openai_batch_id,
            batch_type=self.database.batch_type,
            status=Status.PENDING,
            **{"submitted_at": datetime.now(UTC), **fields},
        )
        try:
            self.ledger.create(row)
        except PreconditionError:
            there = self.ledger.get(batch_id)
            if there.openai_batch_id != openai_batch_id:
                self.progress(
                    f"warning: batch {batch_id} was sent twice: {openai_batch_id} is paid for in vain, "
                    f"{there.openai_batch_id} counts"
                )
            return there
        return row
