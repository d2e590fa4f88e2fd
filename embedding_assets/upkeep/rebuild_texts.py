"""What the published records were embedded from: their texts, as they were submitted."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from embedding_assets.bucket.keys import records_key
from embedding_assets.bucket.store import Store
from embedding_assets.errors import BatchError, NotFoundError, TransientError
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.openai_batches.absence import is_old
from embedding_assets.openai_batches.batch_status import NOT_FOUND
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.openai_batches.requests import Request, read_input_file, read_records
from embedding_assets.rows.record_index import alive
from embedding_assets.submission.record_file import Record
from embedding_assets.submission.tokens import count_tokens
from embedding_assets.text.bounded_text import shown


@dataclass(frozen=True)
class StoredTexts:
    """Texts from `records/`, else from OpenAI's input file, else the document of a record that has no other."""

    store: Store
    ledger: Ledger
    openai: OpenAIBatches

    def records(self, index: pa.Table) -> Iterator[Record]:
        """Every published record, in the order of batches and ids. Raises BatchError if a text is nowhere."""
        by_batch: dict[str, list[tuple[str, str | None]]] = defaultdict(list)
        published = alive(index)
        columns = (published.column(name).to_pylist() for name in ("batch_id", "id", "metadata"))
        for batch_id, record_id, metadata in zip(*columns, strict=True):
            by_batch[batch_id].append((record_id, metadata))
        for batch_id, wanted in sorted(by_batch.items()):
            yield from self._of_batch(batch_id, wanted)

    def _of_batch(self, batch_id: str, wanted: Sequence[tuple[str, str | None]]) -> Iterator[Record]:
        with tempfile.TemporaryDirectory(prefix="embedding-assets-texts-") as name:
            requests = self._kept(batch_id, Path(name) / "records")
            if not all(record_id in requests and requests[record_id].text for record_id, _ in wanted):
                asked = self._asked(batch_id, Path(name) / "input")
            else:
                asked = {}
        for record_id, metadata in wanted:
            kept, sent = requests.get(record_id), asked.get(record_id)
            text = (kept and kept.text) or (sent and sent.text) or (kept and kept.document)
            if not text:
                raise BatchError(
                    f"the text of record {shown(record_id)} is neither in {records_key(batch_id)} nor at OpenAI: "
                    "submit it again, or delete it"
                )
            document = kept.document if kept is not None and kept.document is not None else text
            yield Record(record_id, text, document, metadata, count_tokens(text))

    def _kept(self, batch_id: str, path: Path) -> dict[str, Request]:
        try:
            self.store.download_file(records_key(batch_id), path)
        except NotFoundError:
            return {}
        return dict(read_records(path, records_key(batch_id)).by_id)

    def _asked(self, batch_id: str, path: Path) -> dict[str, Request]:
        row = self.ledger.get_many([batch_id]).get(batch_id)
        if row is None:
            return {}
        try:
            remote = self.openai.retrieve(row.openai_batch_id)
            if remote.status == NOT_FOUND:
                raise NotFoundError(f"OpenAI does not know batch {batch_id}")
            if remote.input_file_id is None:
                return {}
            self.openai.download(remote.input_file_id, path)
        except NotFoundError as error:
            if not is_old(row, datetime.now(UTC)):
                message = f"{error}, which has texts of published records: try again, perhaps with another key"
                raise TransientError(message) from error
            return {}
        except BatchError:
            return {}
        return dict(read_input_file(path, f"OpenAI's input file of batch {batch_id}").by_id)
