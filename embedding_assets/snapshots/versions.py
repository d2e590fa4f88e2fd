"""Published versions: their manifests, the pointer, and the chain that leads from it to the first."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, ValidationError

from embedding_assets.databases import Database
from embedding_assets.errors import DamagedVersionError, NotFoundError
from embedding_assets.ledger.batch_summary import Status
from embedding_assets.snapshots.directory import MANIFEST, FileEntry
from embedding_assets.snapshots.store import Store

INDEX_FILE = "records.arrow"
"""Path of the record index among a version's files."""

VERSION_NAME = re.compile(r"(\d+)-[0-9a-f]{12}")
"""The epoch of its writer, and what makes it unique."""


class VersionFile(FileEntry):
    """One file of a version. `key` is a whole bucket key, under this version's prefix or an older one's."""

    key: str


class VersionBatch(BaseModel):
    """One batch that a version accounts for. `status` is the final status that marking writes."""

    model_config = ConfigDict(frozen=True)

    batch_id: str
    generation: int
    status: Status
    embedded: int
    failed: int
    unfinished: int
    delta_key: str | None = None
    deleted: int = 0
    retryable: int = 0


class VersionManifest(BaseModel):
    """All there is to know of a published version. Never rewritten, never deleted.

    `inputs_digest` tells what the execution merged, so that merging the same again finds this version.
    `rolled_back_to` names the version whose files a rollback published again. `sweeping` lists versions whose
    own files a gc has begun to delete: nothing may be built on them. `merge_seconds` is how long it took from
    the lock to the commit.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: str
    database: str
    collection: str
    execution_id: str
    parent: str | None
    epoch: int
    commit_id: str
    created_at: str
    model: str | None
    dimensions: int | None
    space: str
    chroma_version: str
    total_embeddings: int
    content_digest: str
    files: tuple[VersionFile, ...]
    batches: tuple[VersionBatch, ...]
    withdrawn: tuple[str, ...] = ()
    fence: int = 0
    inputs_digest: str | None = None
    added: int = 0
    updated: int = 0
    removed: int = 0
    unchanged: int = 0
    writer: str | None = None
    rolled_back_to: str | None = None
    sweeping: tuple[str, ...] = ()
    merge_seconds: float = 0.0

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class Pointer:
    """The pointer as read: the published manifest, and the ETag that a replacement must match."""

    manifest: VersionManifest
    etag: str

    @property
    def epoch(self) -> int:
        """The greatest epoch that has written here."""
        return max(self.manifest.epoch, self.manifest.fence)


def new_version(epoch: int) -> str:
    """A name for the next version, used once."""
    return f"{epoch}-{uuid.uuid4().hex[:12]}"


def version_prefix(database: Database, version: str) -> str:
    """Prefix of one version's own files, ending in `/`."""
    return f"{database.versions_prefix}{version}/"


def read_pointer(store: Store, database: Database) -> Pointer | None:
    """The pointer; None where nothing was ever published. DamagedVersionError where it is no manifest."""
    found = store.find(database.pointer_key)
    if found is None:
        return None
    return Pointer(_parsed(store, database.pointer_key, found.data), found.etag)


def read_version(store: Store, database: Database, version: str) -> VersionManifest:
    """The manifest of one version. NotFoundError where there is none."""
    key = version_prefix(database, version) + MANIFEST
    try:
        return _parsed(store, key, store.get(key))
    except NotFoundError as error:
        raise NotFoundError(f"{database.name} has no version {version!r}") from error


def epoch_of(version: str) -> int | None:
    """The epoch in a version's name; None where it is no version's name."""
    match = VERSION_NAME.fullmatch(version)
    return int(match.group(1)) if match else None


def chain(store: Store, database: Database, newest: VersionManifest) -> Iterator[VersionManifest]:
    """`newest` and its ancestors, back to the first version. DamagedVersionError where one is missing."""
    manifest = newest
    yield manifest
    while manifest.parent is not None:
        manifest = _parent(store, database, manifest.parent, manifest.version)
        yield manifest


def _parent(store: Store, database: Database, version: str, child: str) -> VersionManifest:
    try:
        return read_version(store, database, version)
    except NotFoundError as error:
        where = store.uri(version_prefix(database, version) + MANIFEST)
        raise DamagedVersionError(f"{where} is missing: version {child} was published on it") from error


def _parsed(store: Store, key: str, data: bytes) -> VersionManifest:
    try:
        return VersionManifest.model_validate_json(data)
    except ValidationError as error:
        raise DamagedVersionError(f"{store.uri(key)} is not a version's manifest") from error
