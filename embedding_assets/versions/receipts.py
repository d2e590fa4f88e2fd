"""Receipts: which version an execution published, so that nobody has to walk the chain to find out.

    {database}/snapshot/receipts/{execution_id}/{inputs_digest}.json

Promise: a receipt is written only for a version that was committed. Whoever holds the lock writes that of the
published version before building on it, so a crash between commit and receipt leaves none out for long.
"""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict, ValidationError

from embedding_assets.bucket.keys import receipts_prefix
from embedding_assets.bucket.store import Store
from embedding_assets.databases import Database
from embedding_assets.errors import PreconditionError
from embedding_assets.versions.manifest import Name, VersionManifest

SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
"""Execution ids and digests that can be part of a key. Others get no receipt."""


class Receipt(BaseModel):
    """One execution's publication."""

    model_config = ConfigDict(frozen=True)

    execution_id: str
    inputs_digest: str
    version: Name


def receipt_key(database: Database, execution_id: str, inputs_digest: str | None) -> str | None:
    """Where the receipt is; None for what has none: a rollback, a rebuild, an id that cannot be part of a key."""
    if inputs_digest is None or not SAFE_ID.fullmatch(execution_id) or not SAFE_ID.fullmatch(inputs_digest):
        return None
    return f"{receipts_prefix(database)}{execution_id}/{inputs_digest}.json"


def write_receipt(store: Store, database: Database, published: VersionManifest) -> None:
    """Write the receipt of a version that was committed, unless it is there."""
    key = receipt_key(database, published.execution_id, published.inputs_digest)
    if key is None or published.inputs_digest is None or store.find(key) is not None:
        return
    receipt = Receipt(
        execution_id=published.execution_id,
        inputs_digest=published.inputs_digest,
        version=published.version,
    )
    try:
        store.create(key, receipt.model_dump_json(indent=2).encode())
    except PreconditionError:
        return


def find_receipt(store: Store, database: Database, execution_id: str, inputs_digest: str | None) -> str | None:
    """The version that an execution published from these inputs; None without a receipt that can be read."""
    key = receipt_key(database, execution_id, inputs_digest)
    found = store.find(key) if key is not None else None
    return _version(found.data) if found is not None else None


def newest_receipt(store: Store, database: Database) -> str | None:
    """The version of the receipt that was written last; None if there is none."""
    newest = max(store.list(receipts_prefix(database)), key=lambda entry: entry.last_modified, default=None)
    found = store.find(newest.key) if newest is not None else None
    return _version(found.data) if found is not None else None


def _version(data: bytes) -> str | None:
    try:
        return Receipt.model_validate_json(data).version
    except ValidationError:
        return None
