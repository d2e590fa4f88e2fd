"""What is submitted already: for each id its latest submission, published or on its way.

A record whose latest submission has the same input needs no other one. The greatest `(precedence_at, batch_id)`
is the latest, as in a merge.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from embedding_assets.bucket.keys import records_key
from embedding_assets.bucket.store import Store
from embedding_assets.databases import Database
from embedding_assets.errors import NotFoundError
from embedding_assets.ledger.batch_summary import BatchSummary
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.openai_batches.file_lines import numbered_lines
from embedding_assets.openai_batches.record_ids import usable_id
from embedding_assets.rows.arrow import TEXT_HASH
from embedding_assets.rows.record_index import alive
from embedding_assets.versions.manifest import VersionManifest
from embedding_assets.versions.reader import published_index
from embedding_assets.versions.witnesses import trusted_pointer

READ_AT_ONCE = 8
"""Live batches whose records are read side by side."""


@dataclass(frozen=True, order=True)
class Latest:
    """A submission of one id. `input_sha256` is None for a deletion, and where its input is not known."""

    precedence_at: datetime
    batch_id: str
    input_sha256: str | None = field(compare=False)
    deletion: bool = field(compare=False, default=False)


class SubmissionIndex:
    """The latest submission of each of `ids` (None: of all), as far as it is known; `refresh` looks again.

    It knows too which of `texts`, given by their hashes, are published, under whatever id.
    """

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        database: Database,
        ids: Collection[str] | None,
        texts: Collection[bytes] = (),
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._database = database
        self._ids = None if ids is None else frozenset(ids)
        self._texts = frozenset(texts)
        self.published: VersionManifest | None = None
        self._with_text: dict[bytes, str] = {}
        self._published: dict[str, Latest] = {}
        self._of_batch: dict[str, dict[str, Latest]] = {}
        self._own: dict[str, BatchSummary] = {}
        self._latest: dict[str, Latest] = {}

    def refresh(self) -> None:
        """Read what is live, then what is published: what went over in between is seen in either."""
        live = self._ledger.live(self._database)
        rows = {row.batch_id: row for row in (*live.ready_to_plan, *live.set_aside)} | self._own
        with ThreadPoolExecutor(READ_AT_ONCE) as pool:
            list(pool.map(self._read, [row for row in rows.values() if row.batch_id not in self._of_batch]))
        pointer = trusted_pointer(self._store, self._ledger, self._database)
        if pointer is not None and (self.published is None or pointer.manifest.version != self.published.version):
            self._published = self._read_published(pointer.manifest)
            self.published = pointer.manifest
        self._latest = dict(self._published)
        for batch_id in rows:
            for record_id, one in self._of_batch[batch_id].items():
                if record_id not in self._latest or self._latest[record_id] < one:
                    self._latest[record_id] = one

    def note(self, row: BatchSummary) -> None:
        """A row that the index of the table may not show yet, for the next `refresh`."""
        if row.status.live:
            self._own[row.batch_id] = row

    def latest(self, record_id: str) -> Latest | None:
        """The latest submission of one id; None if there is none."""
        return self._latest.get(record_id)

    def published_with(self, text: bytes | None) -> str | None:
        """The id of a published record with this text, model and dimensions; None if there is none."""
        return None if text is None else self._with_text.get(text)

    def present(self) -> set[str]:
        """The ids that are published or on their way, and whose latest submission is no deletion."""
        return {record_id for record_id, latest in self._latest.items() if not latest.deletion}

    def _read(self, row: BatchSummary) -> None:
        found: dict[str, Latest] = {}
        for value in self._stored(row.batch_id):
            record_id = usable_id(value.get("id"))
            if record_id is not None and (self._ids is None or record_id in self._ids):
                asked, deleted = value.get("input_sha256"), bool(value.get("deleted"))
                found[record_id] = Latest(row.precedence, row.batch_id, asked, deleted)
        self._of_batch[row.batch_id] = found

    def _stored(self, batch_id: str) -> Iterable[dict[str, Any]]:
        """The lines of `records/`; none for a batch of another program, whose input is not known."""
        with tempfile.TemporaryDirectory(prefix="embedding-assets-known-") as folder:
            path = Path(folder) / "records.jsonl"
            try:
                self._store.download_file(records_key(batch_id), path)
            except NotFoundError:
                return
            for _, line in numbered_lines(path):
                try:
                    value = orjson.loads(line)
                except orjson.JSONDecodeError:
                    continue
                if isinstance(value, dict):
                    yield value

    def _read_published(self, manifest: VersionManifest) -> dict[str, Latest]:
        index = published_index(self._store, manifest)
        self._with_text = self._texts_of(alive(index)) if self._texts else {}
        wanted = index
        if self._ids is not None:
            wanted = index.filter(pc.is_in(index.column("id"), pa.array(sorted(self._ids), pa.string())))
        names = ("id", "hash", "batch_id", "precedence_at", "input_sha256")
        columns = (wanted.column(name).to_pylist() for name in names)
        return {
            record_id: Latest(precedence_at, batch_id, sha256 if record else None, record is None)
            for record_id, record, batch_id, precedence_at, sha256 in zip(*columns, strict=True)
        }

    def _texts_of(self, index: pa.Table) -> dict[bytes, str]:
        """By the hash of each of the texts that are published, the id of one record that has it."""
        wanted = index.filter(pc.is_in(index.column(TEXT_HASH), pa.array(sorted(self._texts), pa.binary(32))))
        return dict(zip(wanted.column(TEXT_HASH).to_pylist(), wanted.column("id").to_pylist(), strict=True))


def everything_submitted(store: Store, ledger: Ledger, database: Database) -> set[str]:
    """The ids of all records of a database that are published or on their way and not deleted."""
    index = SubmissionIndex(store, ledger, database, None)
    index.refresh()
    return index.present()
