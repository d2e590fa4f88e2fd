"""The delta of one batch: its name, and how it is written."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from embedding_assets.bucket.store import Store
from embedding_assets.chroma.row_source import pack
from embedding_assets.databases import Database
from embedding_assets.errors import PreconditionError, TransientError
from embedding_assets.openai_batches.reconcile import Reconciled
from embedding_assets.rows.snapshot_directory import (
    Format,
    SnapshotManifest,
    find_manifest,
    is_complete,
    list_files,
    upload_snapshot,
)

DELTA_VERSION = "3"
"""Part of every delta id: raised when the same input would give other bytes."""


def name_delta(batch_id: str, found: Reconciled, hashes: tuple[str, str, str], form: Format) -> str:
    """The delta's id: a function of the batch, the bytes of its output, errors and records, and the format.

    So are the dimensions, unless the row has them: then they belong to the batch.
    """
    parts = [DELTA_VERSION, batch_id, str(found.dimensions), *hashes, form]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def write_delta(
    store: Store,
    database: Database,
    form: Format,
    directory: Path,
    prefix: str,
    found: Reconciled,
    *,
    first: bool = False,
) -> None:
    """Write the rows in `directory` as a snapshot under `prefix`, unless it is there and whole.

    `first`: nothing says that the batch was polled before. Then nobody looks for an Arrow delta: one that is there
    all the same has the same bytes, and its manifest stays.
    """
    first = first and form == "arrow"
    there = None if first else find_manifest(store, prefix)
    if there is not None and is_complete(store, prefix, there):
        return
    pack(directory, form, database.collection)
    manifest = SnapshotManifest(
        format=form,
        count=found.written,
        dimensions=found.dimensions,
        collection=database.collection,
        files=list_files(directory),
    )
    if first:
        with suppress(PreconditionError, TransientError):
            upload_snapshot(store, directory, prefix, manifest, create=True)
            return
        there = find_manifest(store, prefix)
        if there == manifest:
            return
    over_nothing = there is None and form == "arrow"  # Chroma's files differ from one build to the next
    upload_snapshot(store, directory, prefix, manifest, over_nothing=over_nothing)
