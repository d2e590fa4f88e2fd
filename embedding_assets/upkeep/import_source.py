"""What is imported: a Chroma directory, a `.tar.gz` of one, or either in S3, brought to a private local copy.

Nothing of an archive is believed: only plain files and folders below its own root are unpacked, and no more bytes
than the machine has room for.
"""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path, PurePosixPath

from embedding_assets.bucket.store import Store
from embedding_assets.chroma.collection import DATABASE_FILE
from embedding_assets.errors import InputError, NotFoundError

S3 = "s3://"
ARCHIVES = (".tar.gz", ".tgz", ".tar")
LATEST = "latest-pointer.txt"
"""The replaced system's pointer: its text names the version, whose archive is below `timestamped/`."""
ARCHIVE_NAME = "snapshot.tar.gz"
MOST_ENTRIES = 10_000
SPARE_BYTES = 2**30
"""What an archive leaves free on the disk."""


def local_copy(source: str, folder: Path) -> Path:
    """The Chroma directory at `source`, as a private copy below `folder`.

    `source` is a path or `s3://bucket/key`. A prefix of the replaced system, with its `latest-pointer.txt`, is its
    newest version. Raises InputError if nothing of this kind is there, or an archive has what none should have.
    """
    found = _from_s3(source, folder / "source") if source.startswith(S3) else Path(source)
    if not found.exists():
        raise InputError(f"{source} is not there")
    if found.is_file():
        return _root(_unpacked(found, folder / "unpacked", source), source)
    copy = folder / "copy"
    shutil.copytree(_root(found, source), copy)
    return copy


def _from_s3(source: str, to: Path) -> Path:
    """The object, or all objects below the prefix."""
    bucket, _, key = source.removeprefix(S3).partition("/")
    if not bucket:
        raise InputError(f"{source} names no bucket")
    store = Store(bucket)
    prefix = key if not key or key.endswith("/") else f"{key}/"
    try:
        if key.endswith(ARCHIVES):
            store.download_file(key, to / PurePosixPath(key).name)
            return to / PurePosixPath(key).name
        named = key if key.endswith(LATEST) else f"{prefix}{LATEST}"
        pointer = store.find(named)
    except NotFoundError:
        raise InputError(f"{source} is not there") from None
    if pointer is not None:
        return _of_the_replaced_system(store, named, pointer.data, to)
    entries = [entry for entry in store.list(prefix) if not entry.key.endswith("/")]
    if not entries:
        raise InputError(f"{source} is not there")
    if len(entries) > MOST_ENTRIES:
        raise InputError(f"{source} has more than {MOST_ENTRIES} objects: it is no Chroma directory")
    _check_room(sum(entry.size for entry in entries), to.parent, source)
    for entry in entries:
        store.download_file(entry.key, _below(to, entry.key.removeprefix(prefix), source))
    return to


def _of_the_replaced_system(store: Store, pointer_key: str, data: bytes, to: Path) -> Path:
    folder = pointer_key.removesuffix(LATEST)
    version = data.decode("utf-8", "replace").strip().strip("/").rsplit("/", 1)[-1]
    prefix = f"{folder}timestamped/{version}/"
    if not version or not any(True for _ in store.list(prefix)):
        raise InputError(f"{store.uri(pointer_key)} names the version {version[:64]!r}, which is not there")
    return _from_s3(_archive_or_folder(store, prefix), to)


def _archive_or_folder(store: Store, prefix: str) -> str:
    archive = f"{prefix}{ARCHIVE_NAME}"
    return store.uri(archive if store.find(archive) is not None else prefix)


def _unpacked(archive: Path, to: Path, source: str) -> Path:
    to.mkdir(parents=True)
    try:
        with tarfile.open(archive, "r:*") as opened:
            total = 0
            for number, member in enumerate(opened, start=1):
                if number > MOST_ENTRIES:
                    raise InputError(f"{source} has more than {MOST_ENTRIES} entries: it is no Chroma directory")
                path = _below(to, member.name, source)
                if member.isdir():
                    path.mkdir(parents=True, exist_ok=True)
                    continue
                if not member.isreg():
                    raise InputError(f"{source} has a link or a device, {member.name[:64]!r}: nothing is imported")
                total += member.size
                _check_room(member.size, to, source)
                content = opened.extractfile(member)
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as file:
                    shutil.copyfileobj(content, file, 2**20)  # type: ignore[arg-type]
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputError(f"{source} is no archive that can be read: {' '.join(str(error).split())}") from error
    return to


def _below(folder: Path, name: str, source: str) -> Path:
    """Where an entry goes. Raises InputError for one that leads out of the folder."""
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or "\\" in name or "\0" in name:
        raise InputError(f"{source} has an entry that leads out of it, {name[:64]!r}: nothing is imported")
    return folder / parts


def _check_room(size: int, folder: Path, source: str) -> None:
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if size + SPARE_BYTES > shutil.disk_usage(place).free:
        raise InputError(f"{source} needs {size:,} bytes more than there is room for in {place}")


def _root(directory: Path, source: str) -> Path:
    """The folder that Chroma's database file is in: the directory itself, or the one folder that has it."""
    found = sorted(directory.rglob(DATABASE_FILE))
    if not found:
        raise InputError(f"{source} is no Chroma directory: it has no {DATABASE_FILE}")
    if len(found) > 1:
        raise InputError(f"{source} has {len(found)} Chroma directories: name one of them")
    return found[0].parent
