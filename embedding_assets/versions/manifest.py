"""Published versions: their manifests, the pointer, and the chain that leads from it to the first."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from embedding_assets.bucket.keys import changes_prefix, pointer_key, version_prefix, versions_prefix
from embedding_assets.bucket.store import Store
from embedding_assets.databases import Database
from embedding_assets.errors import DamagedVersionError, NotFoundError
from embedding_assets.ledger.batch_summary import Status, parse_instant
from embedding_assets.rows.safe_files import MOST_FILES, files_problem, path_problem
from embedding_assets.rows.snapshot_directory import MANIFEST, first_problem
from embedding_assets.versions.version_files import VersionFile

INDEX_FILE = "records.arrow"
"""Path of the record index among a version's files."""

VERSION_NAME = re.compile(r"(\d+)-[0-9a-f]{12}")
"""The epoch of its writer, and what makes it unique."""

SAFE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
"""What a manifest may call a version: the name becomes part of keys and of local paths."""

REPORT_EACH = 500
"""Versions between two lines of progress."""

Name = Annotated[str, Field(pattern=SAFE_NAME)]


class ChangesFile(BaseModel):
    """The file that says what a version changed. `key` is a whole bucket key."""

    model_config = ConfigDict(frozen=True)

    key: str
    size: Annotated[int, Field(ge=0)]
    sha256: str


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

    `inputs_digest` identifies what the execution merged, so that merging the same again finds this version.
    `rolled_back_to` names the version whose files a rollback published again. `withdrawn_generations` has the
    generation in which each withdrawn batch was published: only a greater one may come back; None in manifests
    from before there was such a field. `sweeping` lists versions whose own files a gc has begun to delete:
    nothing may be built on them. `merge_seconds` is how long it took from the lock to the commit. `changes` names
    the file that lists what this version changed; None in manifests from before there were such files.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: Name
    database: str
    collection: str
    execution_id: str
    parent: Name | None
    epoch: Annotated[int, Field(ge=0)]
    commit_id: str
    created_at: str
    model: str | None
    dimensions: int | None
    space: str
    chroma_version: str
    total_embeddings: Annotated[int, Field(ge=0)]
    content_digest: str
    files: Annotated[tuple[VersionFile, ...], Field(max_length=MOST_FILES)]
    batches: tuple[VersionBatch, ...]
    withdrawn: tuple[str, ...] = ()
    withdrawn_generations: dict[str, int] | None = None
    fence: int = 0
    inputs_digest: str | None = None
    added: int = 0
    updated: int = 0
    removed: int = 0
    unchanged: int = 0
    writer: str | None = None
    recall: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    nodes: Annotated[int, Field(ge=0)] | None = None
    rolled_back_to: Name | None = None
    sweeping: tuple[str, ...] = ()
    merge_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    changes: ChangesFile | None = None

    @field_validator("created_at")
    @classmethod
    def _instant(cls, value: str) -> str:
        parse_instant(value)
        return value

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        problem = files_problem(file.path for file in self.files)
        if problem is None and self.total_embeddings and not self.files:
            problem = f"it has {self.total_embeddings} embeddings and names no file"
        if problem is not None:
            raise ValueError(problem)
        return self

    @property
    def keys(self) -> set[str]:
        """The keys of all objects that the files are made of."""
        return {key for file in self.files for key, _ in file.objects}

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


def read_pointer(store: Store, database: Database) -> Pointer | None:
    """The pointer; None if there is none. DamagedVersionError if it is not a manifest of this database."""
    found = store.find(pointer_key(database))
    if found is None:
        return None
    try:
        return Pointer(parse_version(store, database, pointer_key(database), found.data), found.etag)
    except DamagedVersionError as error:
        hint = f"`embedding-assets snapshots repair {database.name}` puts the published one back"
        raise DamagedVersionError(f"{error}; {hint}") from error


def read_version(store: Store, database: Database, version: str) -> VersionManifest:
    """The manifest of one version. NotFoundError without one, DamagedVersionError if it is of another version."""
    key = version_prefix(database, version) + MANIFEST
    try:
        data = store.get(key)
    except NotFoundError as error:
        raise NotFoundError(f"{database.name} has no version {version!r}") from error
    manifest = parse_version(store, database, key, data)
    if manifest.version != version:
        raise DamagedVersionError(
            f"the manifest of version {version} of {database.name} says that it is "
            f"{manifest.version} of {manifest.database}"
        )
    return manifest


def epoch_of(version: str) -> int | None:
    """The epoch in a version's name; None if it is no version's name."""
    match = VERSION_NAME.fullmatch(version)
    return int(match.group(1)) if match else None


def chain(store: Store, database: Database, newest: VersionManifest) -> Iterator[VersionManifest]:
    """`newest` and its ancestors, back to the first version.

    Raises DamagedVersionError if one is missing, or if the chain comes back to a version that it had already.
    """
    manifest = newest
    seen = {manifest.version}
    yield manifest
    while manifest.parent is not None:
        if manifest.parent in seen:
            raise DamagedVersionError(
                f"the chain of {database.name} leads back to {manifest.parent}, the parent of {manifest.version}"
            )
        seen.add(manifest.parent)
        manifest = _parent(store, database, manifest.parent, manifest.version)
        yield manifest


def whole_chain(
    store: Store, database: Database, newest: VersionManifest, report: Callable[[str], None]
) -> list[VersionManifest]:
    """All of `chain`, with a line of progress now and then: the history can be long."""
    versions = []
    for manifest in chain(store, database, newest):
        versions.append(manifest)
        if len(versions) % REPORT_EACH == 0:
            report(f"read {len(versions)} versions of {database.name}, back to {manifest.created_at}")
    return versions


def parse_version(store: Store, database: Database, key: str, data: bytes) -> VersionManifest:
    """The manifest in the object `key`. DamagedVersionError, with the first problem, if it is not a usable one."""
    try:
        manifest = VersionManifest.model_validate_json(data)
    except ValidationError as error:
        problem = first_problem(error)
        raise DamagedVersionError(f"{store.uri(key)} is not a version's manifest: {problem}") from error
    if manifest.database != database.name:
        named = manifest.database[:64]
        raise DamagedVersionError(f"{store.uri(key)} says that it is {manifest.version} of {named}")
    for number, file in enumerate(manifest.files):
        keys = (file.key, *dict(file.objects))
        below = all(_is_below(versions_prefix(database), one) for one in keys)
        if not below or not file.key.endswith(f"/{file.path}"):
            raise DamagedVersionError(
                f"{store.uri(key)} is not a version's manifest: the key of file {number} is not below "
                f"{versions_prefix(database)}"
            )
    if manifest.changes is not None and not _is_below(changes_prefix(database), manifest.changes.key):
        raise DamagedVersionError(
            f"{store.uri(key)} is not a version's manifest: the key of its changes is not below "
            f"{changes_prefix(database)}"
        )
    return manifest


def _is_below(prefix: str, key: str) -> bool:
    return key.startswith(prefix) and path_problem(key.removeprefix(prefix)) is None


def _parent(store: Store, database: Database, version: str, child: str) -> VersionManifest:
    try:
        return read_version(store, database, version)
    except NotFoundError as error:
        where = store.uri(version_prefix(database, version) + MANIFEST)
        raise DamagedVersionError(f"{where} is missing: version {child} was published on it") from error
