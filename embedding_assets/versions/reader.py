"""Reading a published version: pointer, manifest, download, verify, and only then open.

Promise: what is opened is one version, whole, every file of the size and sha256 that its manifest says.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from embedding_assets.bucket.store import Store
from embedding_assets.databases import Database
from embedding_assets.errors import DamagedError, DamagedVersionError, InputError, NotFoundError
from embedding_assets.rows.arrow import Vector, vectors_of
from embedding_assets.rows.record_index import read_index
from embedding_assets.rows.snapshot_directory import MANIFEST, download_verified
from embedding_assets.versions.base_cache import BaseCache
from embedding_assets.versions.gather import gather
from embedding_assets.versions.manifest import INDEX_FILE, VersionManifest, chain, read_pointer
from embedding_assets.versions.split_files import bring
from embedding_assets.versions.tags import resolve

if TYPE_CHECKING:
    # chromadb reads the environment and `.env` when it is imported: not before something is read.
    from embedding_assets.chroma.collection import Collection

OnBytes = Callable[[int], None]


@dataclass(frozen=True)
class Hit:
    """One record near a query. `distance` is that of the database's space, smaller is nearer."""

    id: str
    distance: float
    document: str | None
    metadata: dict[str, Any] | None
    batch_id: str | None


def find_version(store: Store, database: Database, name: str | None = None) -> VersionManifest:
    """The manifest of the version or tag `name`, or of the published one.

    Raises NotFoundError if there is none, also for a version that was built and never published.
    """
    pointer = read_pointer(store, database)
    if pointer is None:
        raise NotFoundError(f"{database.name} has no published version yet")
    if name is None:
        return pointer.manifest
    version = resolve(store, database, name)
    for manifest in chain(store, database, pointer.manifest):
        if manifest.version == version:
            return manifest
    raise NotFoundError(f"{database.name} has no version {version!r}")


def published_index(store: Store, manifest: VersionManifest) -> pa.Table:
    """The record index of a version, tombstones included. Raises DamagedVersionError if it is another."""
    with tempfile.TemporaryDirectory(prefix="embedding-assets-index-") as folder:
        directory = Path(folder)
        entries = [(file, file.key) for file in manifest.files if file.path == INDEX_FILE]
        try:
            download_verified(store, entries, directory)
            return read_index(directory / INDEX_FILE)
        except DamagedError as error:
            raise DamagedVersionError(f"version {manifest.version} is damaged: {error}") from error


def verified_rows(
    store: Store, manifest: VersionManifest, ids: Iterable[str], cache: BaseCache | None
) -> Iterator[pa.RecordBatch]:
    """Records of a version as rows, some at a time in any order, from a private copy that was verified.

    Its files are taken from `cache` if they are right there. Raises DamagedVersionError if the version is damaged.
    """
    from embedding_assets.versions.published_rows import chosen_published_rows

    nearby = [] if cache is None else [cache.directory(manifest.version)]
    with tempfile.TemporaryDirectory(prefix="embedding-assets-records-") as folder:
        directory = Path(folder)
        try:
            gather(store, manifest.files, directory, nearby)
            index = read_index(directory / INDEX_FILE)
        except DamagedError as error:
            raise DamagedVersionError(f"version {manifest.version} is damaged: {error}") from error
        yield from chosen_published_rows(directory, manifest, index, ids)


def verified_vectors(
    store: Store, manifest: VersionManifest, ids: Iterable[str], cache: BaseCache | None
) -> Iterator[tuple[str, Vector]]:
    """The vectors, `(dim,) float32`, of records of a version, in any order; as `verified_rows` reads them."""
    for batch in verified_rows(store, manifest, ids, cache):
        yield from zip(batch.column("id").to_pylist(), vectors_of(batch), strict=True)


def pull(store: Store, manifest: VersionManifest, directory: Path, progress: OnBytes = lambda size: None) -> None:
    """Bring a version to `directory`, which must not exist or be empty; it appears whole or not at all.

    Raises InputError if something stands there, DamagedError if bytes are not what they should be.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InputError(f"{directory} is not an empty directory")
    directory.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        bring(store, manifest.files, partial, progress)
        (partial / MANIFEST).write_text(manifest.model_dump_json(indent=2), encoding="utf-8")
        partial.chmod(0o755)
        os.replace(partial, directory)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def search(
    directory: Path,
    manifest: VersionManifest,
    vector: list[float],
    nearest: int,
    where: dict[str, Any] | None = None,
    batch: str | None = None,
) -> list[Hit]:
    """The `nearest` records to `vector` in a private copy of a version, as `nearest_in` chooses them."""
    from embedding_assets.chroma.collection import open_collection

    with open_collection(directory, manifest.collection) as collection:
        return nearest_in(collection, batches_in(directory), vector, nearest, where, batch)


def batches_in(directory: Path) -> dict[str, str | None]:
    """The batch that each record of a private copy came from, by id."""
    index = read_index(directory / INDEX_FILE)
    return dict(zip(index.column("id").to_pylist(), index.column("batch_id").to_pylist(), strict=True))


def nearest_in(
    collection: Collection,
    batches: dict[str, str | None],
    vector: Sequence[float],
    nearest: int,
    where: dict[str, Any] | None = None,
    batch: str | None = None,
) -> list[Hit]:
    """The `nearest` records to `vector` `(dim,)` in an open collection, nearest first.

    Only of those that `where`, Chroma's filter of metadata, lets pass and that `batch` delivered.
    Raises InputError if `where` is no filter that Chroma takes.
    """
    from embedding_assets.chroma.collection import refused_filter

    ids = None if batch is None else [record_id for record_id, source in batches.items() if source == batch]
    if ids == []:
        return []
    with refused_filter(where):
        found: Any = collection.query(
            ids=ids,
            query_embeddings=np.asarray([vector], dtype=np.float32),
            n_results=nearest,
            where=where,
            include=["documents", "metadatas", "distances"],
        )
    return [
        Hit(record_id, distance, document, metadata, batches.get(record_id))
        for record_id, distance, document, metadata in zip(
            found["ids"][0], found["distances"][0], found["documents"][0], found["metadatas"][0], strict=True
        )
    ]
