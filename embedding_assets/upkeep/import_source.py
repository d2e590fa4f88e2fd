"""What is imported: a Chroma directory, a `.tar.gz` of one, or either in S3, brought to a private local copy.

Of a directory only plain files and folders are copied; what of an archive is written, `import_archive` says.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from embedding_assets.bucket.store import Store, StoredObject
from embedding_assets.chroma.collection import DATABASE_FILE
from embedding_assets.errors import InputError, NotFoundError
from embedding_assets.rows.safe_files import files_problem
from embedding_assets.text.bounded_text import shown
from embedding_assets.upkeep.import_archive import checked_path, unpack
from embedding_assets.upkeep.import_room import MOST_ENTRIES, check_room

S3 = "s3://"
ARCHIVES = (".tar.gz", ".tgz", ".tar")
LATEST = "latest-pointer.txt"
"""The replaced system's pointer: its text names the version, whose archive is below `timestamped/`."""
ARCHIVE_NAME = "snapshot.tar.gz"
POINTER_BYTES = 4096
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+=-]{0,127}")
"""The name of a version of the replaced system."""


def local_copy(source: str, folder: Path) -> Path:
    """The Chroma directory at `source`, as a private copy below `folder`.

    `source` is a path or `s3://bucket/key`. A prefix of the replaced system, with its `latest-pointer.txt`, is its
    newest version. Raises InputError if nothing of this kind is there, or it has what none should have.
    """
    found = _from_s3(source, folder / "source") if source.startswith(S3) else Path(source)
    try:
        kind = found.stat().st_mode
        if stat.S_ISREG(kind):
            unpack(found, folder / "unpacked", source)
            return _root(folder / "unpacked", source)
        if not stat.S_ISDIR(kind):
            raise InputError(f"{source} is neither a folder nor an archive")
        root = _root(found, source)
        _copy(root, folder / "copy", source)
    except FileNotFoundError:
        raise InputError(f"{source} is not there") from None
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise InputError(f"{source} cannot be copied: {reason}") from error
    return folder / "copy"


def _from_s3(source: str, to: Path) -> Path:
    """The object, or all objects below the prefix."""
    bucket, _, key = source.removeprefix(S3).partition("/")
    if not bucket:
        raise InputError(f"{source} names no bucket")
    store = Store(bucket)
    try:
        if key.endswith(ARCHIVES):
            return _object(store, key, to, source)
        prefix = key.removesuffix(LATEST)
        prefix = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
        pointer = _size(store, f"{prefix}{LATEST}")
        if pointer is None:
            return _folder(store, prefix, to, source)
        version = _version(store, f"{prefix}{LATEST}", pointer, source)
        below = f"{prefix}timestamped/{version}/"
        if _size(store, f"{below}{ARCHIVE_NAME}") is None:
            return _folder(store, below, to, f"{source}, version {version},")
        return _object(store, f"{below}{ARCHIVE_NAME}", to, source)
    except NotFoundError:
        raise InputError(f"{source} is not there") from None


def _version(store: Store, pointer_key: str, size: int, source: str) -> str:
    """The version that the pointer names. Only its last part counts: the pointer may have the whole prefix."""
    if size > POINTER_BYTES:
        raise InputError(f"{source}: its {LATEST} has {size:,} bytes, and is no pointer")
    text = store.get(pointer_key).decode("utf-8", "replace")
    version = text.strip().strip("/").rsplit("/", 1)[-1]
    if VERSION.fullmatch(version) is None:
        raise InputError(f"{source}: its {LATEST} names no version: {shown(text)}")
    return version


def _size(store: Store, key: str) -> int | None:
    """The bytes of one object; None if there is none."""
    return next((entry.size for entry in _listed(store, key) if entry.key == key), None)


def _listed(store: Store, prefix: str) -> list[StoredObject]:
    """The first objects below a prefix, more than an index has."""
    return list(islice(store.list(prefix), MOST_ENTRIES + 1))


def _object(store: Store, key: str, to: Path, source: str) -> Path:
    size = _size(store, key)
    if size is None:
        raise InputError(f"{source} is not there")
    check_room(size, to, source)
    store.download_file(key, to / ARCHIVE_NAME)
    return to / ARCHIVE_NAME


def _folder(store: Store, prefix: str, to: Path, source: str) -> Path:
    entries = [entry for entry in _listed(store, prefix) if not entry.key.endswith("/")]
    if not entries:
        raise InputError(f"{source} is not there")
    if len(entries) > MOST_ENTRIES:
        raise InputError(f"{source} has more than {MOST_ENTRIES:,} objects: it is no Chroma directory")
    paths = [checked_path(entry.key.removeprefix(prefix), source) for entry in entries]
    problem = files_problem(paths)
    if problem is not None:
        raise InputError(f"{source} is no folder: {problem}")
    check_room(sum(entry.size for entry in entries), to, source)
    for entry, path in zip(entries, paths, strict=True):
        store.download_file(entry.key, to / path)
    return to


def _root(directory: Path, source: str) -> Path:
    """The folder that Chroma's database file is in: the directory itself, or the one folder that has it."""
    if _is_plain(directory / DATABASE_FILE):
        return directory
    found = [entry.path for entry in _entries(directory, source) if entry.name == DATABASE_FILE]
    plain = [Path(path) for path in found if _is_plain(Path(path))]
    if not plain:
        raise InputError(f"{source} is no Chroma directory: it has no {DATABASE_FILE}")
    if len(plain) > 1:
        raise InputError(f"{source} has {len(plain)} Chroma directories: name one of them")
    return plain[0].parent


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _copy(root: Path, to: Path, source: str) -> None:
    """Copy every file below `root`. InputError for a link or a device, also if it leads to a file."""
    entries = list(_entries(root, source))
    odd = next((one for one in entries if not (one.is_dir(follow_symlinks=False) or _is_plain(Path(one)))), None)
    if odd is not None:
        raise InputError(f"{source} has a link or a device, {shown(odd.name)}: nothing is imported")
    files = [Path(one) for one in entries if not one.is_dir(follow_symlinks=False)]
    check_room(sum(path.stat().st_size for path in files), to, source)
    to.mkdir(parents=True)
    for path in files:
        copy = to / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy, follow_symlinks=False)


def _entries(directory: Path, source: str) -> Iterator[os.DirEntry[str]]:
    """Everything below a folder, links as they are. InputError if that is more than an index has."""
    folders: list[str | Path] = [directory]
    number = 0
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                number += 1
                if number > MOST_ENTRIES:
                    raise InputError(
                        f"{source} has more than {MOST_ENTRIES:,} files and folders: name the Chroma directory"
                    )
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                yield entry
