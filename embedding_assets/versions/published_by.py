"""Which version an execution published: by its receipt, else among the newest versions."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice

from embedding_assets.bucket.store import Store
from embedding_assets.databases import Database
from embedding_assets.errors import DamagedVersionError, NotFoundError
from embedding_assets.ledger.batch_summary import parse_instant
from embedding_assets.ledger.ids import planned_at
from embedding_assets.versions.manifest import Pointer, VersionManifest, chain, read_version
from embedding_assets.versions.receipts import find_receipt
from embedding_assets.versions.witnesses import RECENT, lost

CLOCKS_APART = timedelta(days=1)
"""A version so much older than an execution's plan cannot be of it, however far the clocks are apart."""


def published_by(
    store: Store, database: Database, pointer: Pointer, execution_id: str, inputs_digest: str
) -> VersionManifest | None:
    """The published version of this execution with these inputs; None if it is not known that there is one.

    To be called by the holder of the lock. Its receipt names it. Versions from before there were receipts are
    looked for among the newest `RECENT`; what is older is merged again, which changes no record.
    """
    receipt = find_receipt(store, database, execution_id, inputs_digest)
    if receipt is not None:
        return _named(store, database, pointer, receipt)
    planned = planned_at(execution_id)
    for manifest in islice(chain(store, database, pointer.manifest), RECENT):
        if manifest.execution_id == execution_id and manifest.inputs_digest == inputs_digest:
            return manifest
        if manifest.withdrawn_generations is not None:
            return None
        if planned is not None and parse_instant(manifest.created_at) < planned - CLOCKS_APART:
            return None
    return None


def _named(store: Store, database: Database, pointer: Pointer, version: str) -> VersionManifest:
    try:
        manifest = read_version(store, database, version)
    except NotFoundError as error:
        raise DamagedVersionError(f"version {version} of {database.name} has a receipt and no manifest") from error
    if manifest.epoch > pointer.manifest.epoch:
        raise lost(store, database, version, pointer)
    return manifest
