"""Unpacking an archive from elsewhere. Nothing of it is believed.

Promise: only plain files and folders below its root are written, each once; no more bytes than EXPANSION allows
and than the disk has room for; in one pass, with a bounded part of the archive in memory. Only an archive that is
whole to its end, its checksum too, is unpacked without an error.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, Any

from embedding_assets.errors import InputError
from embedding_assets.rows.safe_files import path_problem
from embedding_assets.text.bounded_text import MESSAGE_CHARS, bounded, shown
from embedding_assets.upkeep.import_room import MOST_ENTRIES, check_room

GZIP = b"\x1f\x8b"
EXPANSION = 200
"""How many times its own size an archive may become. Indexes become 1 to 20 times; gzip allows 1,032 times."""
ALWAYS_BYTES = 2**30
"""An archive of any size may become that large."""
HEADER_BYTES = 2**20
"""What the headers of one entry may have: a name, and what extends it."""
END_BYTES = 16 * 2**20
"""What may follow the last entry: zeros up to the next full block."""
BLOCK = 2**20


class _Entry(tarfile.TarInfo):
    """An entry whose header is whole: `tarfile` takes a damaged one, or none at all, for the archive's end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Entry:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # zeros: the end
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"a damaged header, or no end ({error})") from None


class _BoundedStream:
    """The bytes of an unpacked archive, as many as were allowed."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.left = 0

    def read(self, size: int) -> bytes:
        """At most `size` bytes."""
        if self.left <= 0:
            raise tarfile.ReadError("an entry has more than its header says, or too large a header")
        data = self._stream.read(min(size, BLOCK))
        self.left -= len(data)
        return data


def unpack(archive: Path, to: Path, source: str) -> None:
    """Unpack a `.tar` or `.tar.gz` into the new folder `to`. Raises InputError, which begins with `source`."""
    to.mkdir(parents=True)
    try:
        with archive.open("rb") as file:
            packed = file.read(len(GZIP)) == GZIP
            file.seek(0)
            stream: Any = gzip.GzipFile(fileobj=file) if packed else file
            _unpack(_BoundedStream(stream), to, source, max(ALWAYS_BYTES, EXPANSION * archive.stat().st_size))
    except (tarfile.TarError, EOFError, OSError, RecursionError, ValueError, zlib.error) as error:
        reason = (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split())
        raise InputError(f"{source} is no archive that can be read: {bounded(reason, MESSAGE_CHARS)}") from error


def _unpack(stream: _BoundedStream, to: Path, source: str, most: int) -> None:
    stream.left = HEADER_BYTES
    whole: Any = stream
    number = total = 0
    with tarfile.open(fileobj=whole, mode="r|", tarinfo=_Entry) as opened:
        while (member := opened.next()) is not None:
            number += 1
            if number > MOST_ENTRIES:
                raise InputError(f"{source} has more than {MOST_ENTRIES:,} entries: it is no Chroma directory")
            opened.members.clear()  # type: ignore[attr-defined]
            path = to / checked_path(member.name, source)
            if member.isdir():
                path.mkdir(parents=True, exist_ok=True)
                continue
            if not member.isreg() or member.issparse():
                kind = "a sparse file" if member.isreg() else "a link or a device"
                raise InputError(f"{source} has {kind}, {shown(member.name)}: nothing is imported")
            total += member.size
            if total > most:
                raise InputError(f"{source} would become {EXPANSION} times as large and more: nothing is imported")
            check_room(member.size, to, source)
            if path.exists():
                raise InputError(f"{source} has {shown(member.name)} twice: nothing is imported")
            path.parent.mkdir(parents=True, exist_ok=True)
            stream.left = member.size + HEADER_BYTES
            content = opened.extractfile(member)
            assert content is not None, "a plain file has content"
            with path.open("xb") as sink:
                while data := content.read(BLOCK):
                    sink.write(data)
            if path.stat().st_size != member.size:
                raise tarfile.ReadError("it ends in the middle of a file")
            stream.left = HEADER_BYTES
    stream.left = END_BYTES
    while stream.read(BLOCK):
        """To the end: the checksum is there."""


def checked_path(name: str, source: str) -> str:
    """The path of an entry, relative to the root. InputError for one that leads out of it, or cannot be a path."""
    if name.startswith("/") or ".." in PurePosixPath(name).parts or "\\" in name:
        raise InputError(f"{source} has an entry that leads out of it, {shown(name)}: nothing is imported")
    path = PurePosixPath(name).as_posix()
    problem = None if path == "." else path_problem(path)
    if problem is not None:
        raise InputError(f"{source} has an entry that cannot be used, {shown(name)}: {problem}")
    return path
