"""The full check of one version: what is wrong with it, each line beginning with the file that is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from embedding_assets.bucket.keys import version_prefix, versions_prefix
from embedding_assets.bucket.store import Store
from embedding_assets.databases import Database
from embedding_assets.errors import DamagedError, NotFoundError
from embedding_assets.rows.record_index import alive, digest_of, read_index
from embedding_assets.rows.snapshot_directory import MANIFEST
from embedding_assets.versions.manifest import (
    INDEX_FILE,
    VersionManifest,
    read_version,
)
from embedding_assets.versions.split_files import bring
from embedding_assets.versions.verify import find_problems
from embedding_assets.versions.version_files import VersionFile

OnBytes = Callable[[int], None]


def problems_of(
    store: Store,
    manifest: VersionManifest,
    directory: Path,
    *,
    everything: bool,
    progress: OnBytes = lambda size: None,
) -> list[str]:
    """Bring a version to `directory` (private, empty) and tell what is wrong with it: nothing, if it is sound.

    Every file's size and sha256, SQLite's own check, the record index against the manifest, and in Chroma the
    whole id set and the records: with `everything` all of them, otherwise a sample. `progress` gets bytes.
    """
    wrong = [line for file in manifest.files for line in _fetch(store, directory, file, progress)]
    if wrong:
        return wrong
    try:
        index = read_index(directory / INDEX_FILE)
    except (DamagedError, OSError) as error:
        return [f"{INDEX_FILE}: {error}"]
    count = alive(index).num_rows
    if count != manifest.total_embeddings:
        wrong.append(f"{INDEX_FILE}: {count} records, the manifest says {manifest.total_embeddings}")
    if digest_of(index) != manifest.content_digest:
        wrong.append(f"{INDEX_FILE}: its records do not give the manifest's content digest")
    changed = None if everything else ()
    wrong += [
        line if line.startswith("chroma") else f"chroma.sqlite3: {line}"
        for line in find_problems(directory, manifest.collection, index, changed)
    ]
    return wrong


def manifest_problems(store: Store, database: Database, published: VersionManifest) -> list[str]:
    """What is wrong between the pointer's manifest and the version's own: they say the same but for the fence."""
    try:
        own = read_version(store, database, published.version)
    except NotFoundError:
        where = store.uri(version_prefix(database, published.version) + MANIFEST)
        return [f"{MANIFEST}: {where} is missing"]
    except DamagedError as error:
        return [f"{MANIFEST}: {error}"]
    same = {"fence": 0, "sweeping": ()}
    if own.model_copy(update=same) != published.model_copy(update=same):
        return [f"{MANIFEST}: the pointer says otherwise than version {published.version}'s own"]
    return []


def missing_files(store: Store, database: Database, manifest: VersionManifest) -> Iterator[str]:
    """Which files of a version are not there with their size, a line each. Lists, and reads no file."""
    there = {entry.key: entry.size for entry in store.list(versions_prefix(database))}
    for key, wanted in (one for file in manifest.files for one in file.objects):
        size = there.get(key)
        if size is None:
            yield f"{store.uri(key)} is missing"
        elif size != wanted:
            yield f"{store.uri(key)} has {size} bytes instead of {wanted}"


def _fetch(store: Store, directory: Path, file: VersionFile, progress: OnBytes) -> list[str]:
    """Bring one file; what is wrong with it."""
    path, key = directory / file.path, file.key
    try:
        bring(store, [file], directory, progress)
    except NotFoundError as error:
        return [f"{file.path}: {store.uri(key)} is missing" if file.split is None else f"{file.path}: {error}"]
    except DamagedError as error:
        if file.split is not None:
            return [f"{file.path}: {error}"]
        size = path.stat().st_size
        if size != file.size:
            return [f"{file.path}: {store.uri(key)} has {size} bytes, the manifest says {file.size}"]
        return [f"{file.path}: {store.uri(key)} has other bytes than the manifest says (sha256)"]
    return []
