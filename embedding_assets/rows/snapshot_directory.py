"""Snapshot directories: deltas and intermediate snapshots, each with a `manifest.json` that is written last."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from embedding_assets.bucket.store import Store
from embedding_assets.errors import DamagedError, NotFoundError
from embedding_assets.processes.concurrency import concurrently
from embedding_assets.rows.safe_files import MOST_FILES, files_problem, path_problem

MANIFEST = "manifest.json"
READ_AT_ONCE = 2**20
LONGEST_PLACE = 100
DOWNLOAD_TRIES = 2
"""A reader that meets wrong bytes tries once more, then fails loudly."""

Format = Literal["arrow", "chroma"]


class FileEntry(BaseModel):
    """One file of a snapshot: its path below the directory, size in bytes and sha256 in lower-case hex."""

    model_config = ConfigDict(frozen=True)

    path: str
    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @field_validator("path")
    @classmethod
    def _safe(cls, value: str) -> str:
        problem = path_problem(value)
        if problem is None and value == MANIFEST:
            problem = "the manifest names itself as a file"
        if problem is not None:
            raise ValueError(problem)
        return value


class SnapshotManifest(BaseModel):
    """What a snapshot directory holds.

    `sources` is a digest of what it was merged from, `rows_in` how many rows those had; None in a delta.
    """

    model_config = ConfigDict(frozen=True)

    format: Format
    count: Annotated[int, Field(ge=0)]
    rows_in: int | None = None
    dimensions: int | None = None
    collection: str | None = None
    sources: str | None = None
    files: Annotated[tuple[FileEntry, ...], Field(max_length=MOST_FILES)]

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        problem = files_problem(entry.path for entry in self.files)
        if problem is None and self.count and not self.files:
            problem = f"it has {self.count} rows and names no file"
        if problem is not None:
            raise ValueError(problem)
        return self

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(entry.size for entry in self.files)


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(READ_AT_ONCE):
            digest.update(block)
    return digest.hexdigest()


def list_files(directory: Path) -> tuple[FileEntry, ...]:
    """Every file below `directory` but the manifest, in path order."""
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    entries = [(path.relative_to(directory).as_posix(), path) for path in paths]
    return tuple(
        FileEntry(path=name, size=path.stat().st_size, sha256=file_sha256(path))
        for name, path in entries
        if name != MANIFEST
    )


def find_manifest(store: Store, prefix: str) -> SnapshotManifest | None:
    """The manifest of the snapshot under `prefix`; None if none was finished there."""
    found = store.find(prefix + MANIFEST)
    if found is None:
        return None
    try:
        return SnapshotManifest.model_validate_json(found.data)
    except ValidationError as error:
        raise DamagedError(
            f"{store.uri(prefix + MANIFEST)} is not a snapshot's manifest: {first_problem(error)}"
        ) from error


def first_problem(error: ValidationError) -> str:
    """What is wrong with a manifest: the first problem and its place, without the value, which can be anything."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])[:LONGEST_PLACE]
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


def find_complete(store: Store, prefix: str) -> SnapshotManifest | None:
    """Like `find_manifest`, but None also if a file that it names is missing or has another size."""
    manifest = find_manifest(store, prefix)
    return manifest if manifest is not None and is_complete(store, prefix, manifest) else None


def is_complete(store: Store, prefix: str, manifest: SnapshotManifest) -> bool:
    """Whether every file that the manifest names lies under `prefix` and has its size."""
    there = {stored.key: stored.size for stored in store.list(prefix)}
    return all(there.get(prefix + entry.path) == entry.size for entry in manifest.files)


def upload_snapshot(
    store: Store,
    directory: Path,
    prefix: str,
    manifest: SnapshotManifest,
    *,
    over_nothing: bool = False,
    create: bool = False,
) -> None:
    """Write the files of `directory` under `prefix`, the manifest last.

    A manifest that stood there is removed first, so that no moment shows an old manifest over new files. With
    `over_nothing` the caller has seen that none stood there, and whoever writes there meanwhile writes the same.
    With `create` whoever wrote there before wrote the same files: the manifest is only written if there is none,
    and PreconditionError is raised if there is one.
    """
    if create:
        store.upload_files((directory / entry.path, prefix + entry.path) for entry in manifest.files)
        store.create(prefix + MANIFEST, manifest.model_dump_json(indent=2).encode())
        return
    if not over_nothing:
        store.delete([prefix + MANIFEST])
    store.upload_files((directory / entry.path, prefix + entry.path) for entry in manifest.files)
    store.put(prefix + MANIFEST, manifest.model_dump_json(indent=2).encode())


def download_snapshot(store: Store, prefix: str, directory: Path) -> SnapshotManifest | None:
    """Bring the snapshot under `prefix` to `directory`, every file checked against the manifest.

    Without a manifest (another program wrote it) every object under the prefix is brought and None returned.
    Raises NotFoundError if nothing is there, DamagedError if bytes are wrong also the second time.
    """
    manifest = find_manifest(store, prefix)
    if manifest is None:
        keys = [entry.key for entry in store.list(prefix) if not entry.key.endswith("/")]
        if not keys:
            raise NotFoundError(f"{store.uri(prefix)}: there is no snapshot")
        paths = [key.removeprefix(prefix) for key in keys]
        problem = next(filter(None, map(path_problem, paths)), None) or files_problem(paths)
        if problem is not None:
            raise DamagedError(f"the snapshot at {store.uri(prefix)} cannot be brought here: {problem}")
        store.download_files((key, directory / key.removeprefix(prefix)) for key in keys)
        return None
    download_verified(store, [(entry, prefix + entry.path) for entry in manifest.files], directory)
    return manifest


def download_verified(
    store: Store,
    files: Sequence[tuple[FileEntry, str]],
    directory: Path,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Bring files (entry, key) to `directory` and check size and sha256; once more for those that are wrong.

    `progress` gets the bytes of each finished file. Raises DamagedError naming the first wrong key.
    """
    missing = list(files)
    for _ in range(DOWNLOAD_TRIES):
        right = concurrently([partial(_brought, store, key, directory, entry) for entry, key in missing])
        for (entry, _), is_right in zip(missing, right, strict=True):
            if is_right and progress is not None:
                progress(entry.size)
        missing = [file for file, is_right in zip(missing, right, strict=True) if not is_right]
        if not missing:
            return
    raise DamagedError(f"{store.uri(missing[0][1])} is not what its manifest says (size or sha256)")


def _brought(store: Store, key: str, directory: Path, entry: FileEntry) -> bool:
    store.download_file(key, directory / entry.path)
    return matches(directory / entry.path, entry)


def fetch_verified(store: Store, key: str, entry: FileEntry) -> bytes:
    """A small file's bytes, checked like `download_verified` does; nothing is written to a disk."""
    for _ in range(DOWNLOAD_TRIES):
        data = store.get(key)
        if len(data) == entry.size and hashlib.sha256(data).hexdigest() == entry.sha256:
            return data
    raise DamagedError(f"{store.uri(key)} is not what its manifest says (size or sha256)")


def matches(path: Path, entry: FileEntry) -> bool:
    """Whether a local file has the size and sha256 of its entry."""
    return path.stat().st_size == entry.size and file_sha256(path) == entry.sha256
