"""Whether what an execution published is what the bucket holds, and whether its batches are marked."""

from __future__ import annotations

import tempfile
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from embedding_assets.bucket.keys import final_result_key
from embedding_assets.bucket.store import Store
from embedding_assets.dagster_defs.checks.finding import Finding
from embedding_assets.databases import Database
from embedding_assets.errors import DamagedError, NotFoundError
from embedding_assets.executions.result import FinalMergeResult
from embedding_assets.ledger.batch_summary import parse_instant
from embedding_assets.ledger.bookmark import Bookmark
from embedding_assets.ledger.ids import planned_at
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.rows.record_index import alive, digest_of, read_index
from embedding_assets.rows.snapshot_directory import FileEntry, matches
from embedding_assets.versions.manifest import INDEX_FILE, VersionManifest, chain, read_pointer

MARKED_WITHIN = timedelta(minutes=10)
"""Marking comes after a run; so long after its publication a version's batches are marked."""


def latest_execution(store: Store, database: Database) -> str | None:
    """The execution that published last: rollbacks are passed over. None if nothing was published."""
    pointer = read_pointer(store, database)
    versions = chain(store, database, pointer.manifest) if pointer is not None else iter(())
    return next((one.execution_id for one in versions if planned_at(one.execution_id) is not None), None)


def published(store: Store, database: Database, execution_id: str) -> Finding:
    """The execution's version is in the published chain, and its record index has the records that it claims."""
    result = _result(store, execution_id)
    pointer = read_pointer(store, database)
    if result.snapshot_version is None:
        return Finding(True, "nothing was published, by this execution or any before it")
    if pointer is None:
        return Finding(False, f"version {result.snapshot_version} was published, but there is no pointer")
    versions = chain(store, database, pointer.manifest)
    manifest = next((one for one in versions if one.version == result.snapshot_version), None)
    current = pointer.manifest.version
    if manifest is None:
        return Finding(
            False, f"version {result.snapshot_version} is not in the chain of {current}, which is published"
        )
    if result.batches and manifest.execution_id != execution_id:
        elsewhere = {batch.batch_id for one in chain(store, database, pointer.manifest) for batch in one.batches}
        missing = sorted(set(result.batches) - elsewhere)
        if missing:
            return Finding(
                False,
                f"version {manifest.version} is of execution {manifest.execution_id}, and no published version "
                f"accounts for {missing[0]}",
            )
    figures: dict[str, int | str] = {
        "version": manifest.version,
        "published_version": current,
        "total_embeddings": manifest.total_embeddings,
        "content_digest": manifest.content_digest,
    }
    problem = _index_problem(store, manifest, published=manifest.version == current)
    if problem is not None:
        return Finding(False, f"version {manifest.version}: {problem}", figures)
    what = f"version {manifest.version} with {manifest.total_embeddings} records"
    if not result.batches:
        return Finding(True, f"nothing new to publish; {what} stays", figures)
    where = "is published" if manifest.version == current else f"is in the chain of {current}, which is published"
    return Finding(True, f"{what} {where}", figures)


def marked(store: Store, ledger: Ledger, database: Database, execution_id: str, now: datetime) -> Finding:
    """The batches of this execution's version, and of all newer than the last fully marked one, are marked.

    A version that is younger than `MARKED_WITHIN` is given its time.
    """
    pointer = read_pointer(store, database)
    if pointer is None:
        return Finding(True, "nothing is published")
    versions = _to_be_marked(store, ledger, database, pointer.manifest, execution_id)
    rows = ledger.get_many(batch.batch_id for version in versions for batch in version.batches)
    late: list[str] = []
    soon = done = 0
    for version in versions:
        young = now - parse_instant(version.created_at) < MARKED_WITHIN
        for batch in version.batches:
            row = rows.get(batch.batch_id)
            if row is None or not row.status.live or row.generation != batch.generation:
                done += 1
            elif young:
                soon += 1
            else:
                late.append(batch.batch_id)
    figures = {"marked": done, "to_be_marked": soon, "unmarked": len(late)}
    if late:
        return Finding(
            False, f"{_batches(len(late))} published and still not marked: {', '.join(late[:10])}", figures
        )
    return Finding(True, f"{_batches(done)} marked, {soon} about to be", figures)


def _to_be_marked(
    store: Store, ledger: Ledger, database: Database, newest: VersionManifest, execution_id: str
) -> list[VersionManifest]:
    """Newest first: everything after the bookmark, and the version of the execution wherever it is."""
    bookmark = Bookmark(ledger.client, ledger.table, database.name).read().version
    planned = planned_at(execution_id)
    chosen = []
    unmarked = True
    found = False
    for manifest in chain(store, database, newest):
        unmarked = unmarked and manifest.version != bookmark
        mine = manifest.execution_id == execution_id
        found = found or mine
        if unmarked or mine:
            chosen.append(manifest)
        older = planned is not None and parse_instant(manifest.created_at) < planned
        if not unmarked and (found or older):
            break
    return chosen


def _result(store: Store, execution_id: str) -> FinalMergeResult:
    key = final_result_key(execution_id)
    try:
        return FinalMergeResult.model_validate_json(store.get(key))
    except ValidationError as error:
        raise DamagedError(f"{store.uri(key)} is not the result of a final merge") from error


def _index_problem(store: Store, manifest: VersionManifest, *, published: bool) -> str | None:
    """What is wrong with the record index; nothing where gc has deleted the files of an older version."""
    entry = next((file for file in manifest.files if file.path == INDEX_FILE), None)
    if entry is None:
        return f"its manifest names no {INDEX_FILE}"
    with tempfile.TemporaryDirectory(prefix="embedding-assets-check-") as folder:
        path = Path(folder) / INDEX_FILE
        try:
            store.download_file(entry.key, path)
        except NotFoundError:
            return f"{store.uri(entry.key)} is missing" if published else None
        return _content_problem(path, entry, manifest)


def _content_problem(path: Path, entry: FileEntry, manifest: VersionManifest) -> str | None:
    if not matches(path, entry):
        return f"{INDEX_FILE} is not what the manifest says (size or sha256)"
    index = read_index(path)
    count = alive(index).num_rows
    if count != manifest.total_embeddings:
        return f"total_embeddings is {manifest.total_embeddings}, but its record index has {count}"
    digest = digest_of(index)
    if digest != manifest.content_digest:
        return f"content_digest is {manifest.content_digest}, but its record index gives {digest}"
    return None


def _batches(count: int) -> str:
    return "1 batch" if count == 1 else f"{count} batches"
