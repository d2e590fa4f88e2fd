"""Reading for applications: one published version, opened as a private copy.

Needs the base alone: boto3, chromadb and pyarrow, no Dagster. A search by text needs OpenAI's SDK too, the extra
`search`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from embedding_assets.bucket.store import Store
from embedding_assets.databases import LINES, WORDS, Database
from embedding_assets.errors import InputError, SettingsError
from embedding_assets.extras import require_extra
from embedding_assets.versions.base_cache import BaseCache
from embedding_assets.versions.gather import gather
from embedding_assets.versions.manifest import VersionManifest
from embedding_assets.versions.reader import Hit, batches_in, find_version, nearest_in

if TYPE_CHECKING:
    from embedding_assets.chroma.collection import Collection

BUCKET_VARIABLE = "CHROMADB_BUCKET"

OLDER_MODELS = ("text-embedding-ada",)
"""Models that refuse the parameter `dimensions`."""


class Snapshot:
    """One published version, whole and verified, until `refresh` finds another one or `close` removes the copy.

    A context manager. Not for several threads at once.
    """

    def __init__(self, store: Store, database: Database, cache_dir: Path | None, version: str | None) -> None:
        self._store = store
        self._database = database
        self._cache = BaseCache(cache_dir, store.bucket, database) if cache_dir is not None else None
        self._wanted = version
        self._opened = ExitStack()
        self.manifest: VersionManifest
        self.collection: Collection
        self._open(find_version(store, database, version))

    @property
    def version(self) -> str:
        """The name of the version that is open."""
        return self.manifest.version

    @property
    def model(self) -> str:
        """The model that a query must be embedded with. Raises InputError if the version does not say it."""
        if self.manifest.model is None:
            raise InputError(f"version {self.version} does not say its model: search with a vector")
        return self.manifest.model

    @property
    def requested_dimensions(self) -> int | None:
        """The dimensions to ask the model for; None if the model refuses to be asked."""
        return None if self.model.startswith(OLDER_MODELS) else self.manifest.dimensions

    def search(
        self, query: str | Sequence[float], *, k: int = 5, where: dict[str, Any] | None = None
    ) -> list[Hit]:
        """The `k` records nearest to a text or to a vector `(dim,)`, nearest first.

        A text is embedded with the version's model at OpenAI, at the full price of one request. `where` is
        Chroma's filter of metadata. Raises InputError for a vector of another dimension, MissingExtraError for a
        text without the extra `search`.
        """
        vector = self._embedded(query) if isinstance(query, str) else [float(number) for number in query]
        if self.manifest.dimensions is not None and len(vector) != self.manifest.dimensions:
            raise InputError(f"the query has {len(vector)} dimensions, the version {self.manifest.dimensions}")
        return nearest_in(self.collection, self._batches, vector, k, where)

    def refresh(self) -> bool:
        """Open the published version if it is another one by now; say whether it was.

        What is open stays open if the new version cannot be brought here. A snapshot of a named version stays as
        it is, unless the name is a tag that was moved.
        """
        newest = find_version(self._store, self._database, self._wanted)
        if newest.version == self.version:
            return False
        self._open(newest)
        return True

    def close(self) -> None:
        """Close the collection and remove the private copy."""
        self._opened.close()

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, manifest: VersionManifest) -> None:
        # Not with the others: chromadb reads the environment and `.env` when it is imported.
        from embedding_assets.chroma.collection import open_collection

        before = [self._cache.directory(manifest.version)] if self._cache is not None else []
        with ExitStack() as opened:
            directory = Path(tempfile.mkdtemp(prefix="embedding-assets-snapshot-"))
            opened.callback(shutil.rmtree, directory, ignore_errors=True)
            gathered = gather(self._store, manifest.files, directory, before)
            if self._cache is not None and gathered.downloaded:
                _keep(self._cache, manifest, directory)
            collection = opened.enter_context(open_collection(directory, manifest.collection))
            batches = batches_in(directory)
            kept = opened.pop_all()
        self._opened.close()
        self._opened, self._batches = kept, batches
        self.manifest, self.collection = manifest, collection

    def _embedded(self, text: str) -> list[float]:
        require_extra("search", "a search by text")
        from embedding_assets.openai_batches.client import OpenAIBatches

        return OpenAIBatches().embed([text], self.model, self.requested_dimensions)[0]


def open_snapshot(
    database: str | Database,
    *,
    bucket: str | None = None,
    cache_dir: str | Path | None = None,
    version: str | None = None,
) -> Snapshot:
    """Open the published version of a database, or the version or tag `version`.

    The files are downloaded to a private copy, each checked against the manifest. `bucket` is by default the one
    in CHROMADB_BUCKET. With `cache_dir` the newest version is kept there, and only what it lacks is downloaded.

    Raises NotFoundError if nothing is published or there is no such version, DamagedError if bytes are not what
    the manifest says, SettingsError without a bucket.
    """
    bucket = bucket or os.environ.get(BUCKET_VARIABLE)
    if not bucket:
        raise SettingsError(f"no bucket: give `bucket`, or set {BUCKET_VARIABLE}")
    known = database if isinstance(database, Database) else database_called(database)
    return Snapshot(Store(bucket), known, Path(cache_dir) if cache_dir is not None else None, version)


def database_called(name: str) -> Database:
    """A database by its name: reading needs nothing else of it."""
    for shipped in (LINES, WORDS):
        if shipped.name == name:
            return shipped
    try:
        return Database(name=name, batch_type=name, delta_folder=name)
    except ValueError as error:
        raise InputError(
            f"{name!r} cannot be a database: a name is 3 to 64 letters, digits or underscores"
        ) from error


def _keep(cache: BaseCache, manifest: VersionManifest, directory: Path) -> None:
    """A second copy for the cache, which takes it over."""
    copy = Path(tempfile.mkdtemp(prefix="embedding-assets-snapshot-")) / "version"
    try:
        shutil.copytree(directory, copy)
        cache.keep(manifest, copy, lambda line: None)
    finally:
        shutil.rmtree(copy.parent, ignore_errors=True)
