"""The inbox: files that others lay under `{database}/inbox/` are submitted, each once for each time it is written.

The files stay as they are. A receipt under `{database}/submitted/` tells that one was sent whole; a file that is
written over is another one. Names that end in `.jsonl` or `.parquet` are records, in `.ids` ids to delete.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

import orjson

from embedding_assets.bucket.keys import inbox_prefix, submitted_prefix
from embedding_assets.bucket.store import Store, StoredObject
from embedding_assets.databases import Database
from embedding_assets.errors import EmbeddingAssetsError, InputError
from embedding_assets.submission.submit import Submission, Submitter

RECORDS = (".jsonl", ".parquet")
DELETIONS = ".ids"


@dataclass(frozen=True)
class Submitted:
    """What became of one file: what was sent, or why it could not be."""

    key: str
    submission: Submission | None
    problem: str | None = None


@dataclass(frozen=True)
class Inbox:
    """The inbox of one database."""

    store: Store
    database: Database
    submitter: Submitter

    def submit_all(self) -> Iterator[Submitted]:
        """Submit every file that has no receipt, oldest first; one that cannot be submitted stops no other."""
        for file in self.waiting():
            try:
                yield Submitted(file.key, self._submit(file))
            except EmbeddingAssetsError as error:
                yield Submitted(file.key, None, str(error))

    def waiting(self) -> list[StoredObject]:
        """Files without a receipt, oldest first."""
        receipts = {entry.key for entry in self.store.list(submitted_prefix(self.database))}
        files = [entry for entry in self.store.list(self.prefix) if not entry.key.endswith("/")]
        waiting = [file for file in files if self.receipt_key(file) not in receipts]
        return sorted(waiting, key=lambda file: (file.last_modified, file.key))

    @property
    def prefix(self) -> str:
        """Where files are laid, ending in `/`."""
        return inbox_prefix(self.database)

    def receipt_key(self, file: StoredObject) -> str:
        """Key of the receipt for a file as it was written at that moment."""
        written = f"{file.last_modified:%Y%m%dT%H%M%SZ}-{file.etag}"
        return f"{submitted_prefix(self.database)}{file.key.removeprefix(self.prefix)}@{written}.json"

    def _submit(self, file: StoredObject) -> Submission:
        suffix = PurePosixPath(file.key).suffix.lower()
        if suffix not in (*RECORDS, DELETIONS):
            raise InputError(f"{file.key}: its name ends neither in {', '.join(RECORDS)} nor in {DELETIONS}")
        with tempfile.TemporaryDirectory(prefix="embedding-assets-inbox-") as folder:
            path = Path(folder) / f"file{suffix}"
            self.store.download_file(file.key, path)
            try:
                sent = self.submitter.submit([], path) if suffix == DELETIONS else self.submitter.submit([path])
            except InputError as error:
                raise InputError(str(error).replace(str(path), file.key)) from error
        if not sent.deferred:
            self.store.put(self.receipt_key(file), orjson.dumps({"file": file.key, **asdict(sent)}))
        return sent
