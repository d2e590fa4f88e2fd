"""Names for versions, given under the lock: a gc beside it sees the tag or has announced what it deletes."""

from __future__ import annotations

from datetime import UTC, datetime

from embedding_assets.bucket.keys import versions_prefix
from embedding_assets.bucket.store import Store
from embedding_assets.databases import Database
from embedding_assets.errors import InputError
from embedding_assets.ledger.batch_summary import format_instant
from embedding_assets.ledger.ids import new_execution_id
from embedding_assets.versions.publisher import Publisher
from embedding_assets.versions.reader import find_version
from embedding_assets.versions.tags import Tag, tag_key


def set_tag(publisher: Publisher, name: str, version: str | None) -> Tag:
    """Name a version (by default the published one); a tag that is there moves.

    Raises InputError if the version's files are gone, or a gc has begun to sweep them; LockError if another
    had the lock while it was written: then a gc may not have seen it.
    """
    store, database = publisher.store, publisher.database
    key = tag_key(database, name)
    purpose = new_execution_id(datetime.now(UTC))
    with publisher.publication_lock(purpose) as held:
        manifest = find_version(store, database, version)
        sweeping = held.pointer.manifest.sweeping if held.pointer else ()
        there = {entry.key for entry in store.list(versions_prefix(database))}
        if manifest.version in sweeping or not manifest.keys <= there:
            raise InputError(f"version {manifest.version} of {database.name} was swept: it has files no more")
        tag = Tag(tag=name, version=manifest.version, created_at=format_instant(datetime.now(UTC)))
        held.lock.check()
        store.put(key, tag.model_dump_json(indent=2).encode())
        held.lock.check()
    return tag


def remove_tag(store: Store, database: Database, name: str) -> None:
    """Take a tag away. InputError if there is none."""
    key = tag_key(database, name)
    if store.find(key) is None:
        raise InputError(f"{database.name} has no tag {name!r}")
    store.delete([key])
