"""A version's files brought together: from directories at hand where they are right, the rest from S3."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from embedding_assets.bucket.store import Store
from embedding_assets.processes.concurrency import concurrently
from embedding_assets.rows.snapshot_directory import READ_AT_ONCE, FileEntry
from embedding_assets.versions.split_files import bring
from embedding_assets.versions.version_files import VersionFile


@dataclass(frozen=True)
class Gathered:
    """Bytes that were copied from directories at hand, and bytes that were downloaded."""

    copied: int
    downloaded: int


def gather(store: Store, files: Sequence[VersionFile], directory: Path, sources: Sequence[Path]) -> Gathered:
    """Bring `files` to `directory`, each of the size and sha256 that its manifest says.

    `sources` are asked in turn, before S3. They are only read, and nothing in them is taken for right: another
    program may be writing there. Raises what `bring` raises.
    """
    found = concurrently([partial(_copied_from_any, sources, directory, file) for file in files])
    missing = [file for file, there in zip(files, found, strict=True) if not there]
    if missing:
        bring(store, missing, directory)
    downloaded = sum(file.size for file in missing)
    return Gathered(sum(file.size for file in files) - downloaded, downloaded)


def _copied_from_any(sources: Sequence[Path], directory: Path, file: FileEntry) -> bool:
    return any(_copied(source / file.path, directory / file.path, file) for source in sources)


def _copied(source: Path, target: Path, file: FileEntry) -> bool:
    """Copy a file and say whether what was copied is right. What cannot be read counts as not there."""
    digest = hashlib.sha256()
    try:
        if source.stat().st_size != file.size:
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as stream, target.open("wb") as sink:
            while block := stream.read(READ_AT_ONCE):
                digest.update(block)
                sink.write(block)
    except OSError:
        return False
    return digest.hexdigest() == file.sha256
