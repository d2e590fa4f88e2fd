"""Files of the local OpenAI server, their bytes on disk."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from embedding_assets.local.openai_errors import ApiError, not_found

COPY_BYTES = 1 << 20
BATCH_FILE_LIFE_SECONDS = 30 * 86400
SHORTEST_LIFE_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file. `sha256` is that of its bytes."""

    id: str
    path: Path
    filename: str
    purpose: str
    created_at: int
    size: int
    sha256: str
    life_seconds: int = BATCH_FILE_LIFE_SECONDS

    @property
    def expires_at(self) -> int:
        """When it is deleted, in epoch seconds."""
        return self.created_at + self.life_seconds

    @property
    def view(self) -> dict[str, Any]:
        """The file object of the API."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": self.size,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
            "status_details": None,
        }


def life_of(expires_after: object, param: str = "expires_after") -> int:
    """The seconds that a file lives, as `expires_after` asks; the usual ones without it. Raises ApiError 400."""
    if expires_after is None:
        return BATCH_FILE_LIFE_SECONDS
    asked = expires_after if isinstance(expires_after, dict) else {}
    if asked.get("anchor") != "created_at":
        raise ApiError(400, f"Invalid value for '{param}.anchor'.", param=f"{param}.anchor")
    seconds = asked.get("seconds")
    if not str(seconds).isdecimal() or not SHORTEST_LIFE_SECONDS <= int(str(seconds)) <= BATCH_FILE_LIFE_SECONDS:
        raise ApiError(400, f"Invalid value for '{param}.seconds': {seconds}.", param=f"{param}.seconds")
    return int(str(seconds))


class FileStore:
    """All files, below one directory. Safe to use from threads."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._directory.mkdir(parents=True, exist_ok=True)
        self._files: dict[str, StoredFile] = {}
        self._lock = threading.Lock()

    def new_path(self) -> Path:
        """A path of this store that nobody uses; pass it to `adopt` once written."""
        return self._directory / f"file-{secrets.token_hex(11)}"

    def save(
        self, source: BinaryIO, filename: str, purpose: str, life_seconds: int = BATCH_FILE_LIFE_SECONDS
    ) -> StoredFile:
        """Store the bytes of `source` from its position on."""
        path = self.new_path()
        with path.open("wb") as target:
            while part := source.read(COPY_BYTES):
                target.write(part)
        return self.adopt(path, filename, purpose, life_seconds)

    def save_bytes(self, content: bytes, filename: str, purpose: str) -> StoredFile:
        """Store `content`."""
        path = self.new_path()
        path.write_bytes(content)
        return self.adopt(path, filename, purpose)

    def adopt(
        self, path: Path, filename: str, purpose: str, life_seconds: int = BATCH_FILE_LIFE_SECONDS
    ) -> StoredFile:
        """Make the file at `path`, of `new_path`, known under its name as id."""
        with path.open("rb") as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
        size = path.stat().st_size
        stored = StoredFile(path.name, path, filename, purpose, int(time.time()), size, digest, life_seconds)
        with self._lock:
            self._files[stored.id] = stored
        return stored

    def get(self, file_id: str) -> StoredFile:
        """The file of this id. Raises ApiError 404."""
        stored = self._files.get(file_id)
        if stored is None or time.time() >= stored.expires_at:
            raise ApiError(404, f"No such File object: {file_id}", param="id")
        return stored

    def delete(self, file_id: str) -> None:
        """Forget the file and remove its bytes. Raises ApiError 404."""
        with self._lock:
            stored = self._files.pop(file_id, None)
        if stored is None:
            raise not_found("file", file_id)
        stored.path.unlink(missing_ok=True)

    def __iter__(self) -> Iterator[StoredFile]:
        """All files, newest first."""
        return iter(sorted(self._files.values(), key=lambda stored: stored.created_at, reverse=True))

    def held(self) -> dict[str, StoredFile]:
        """All files by id, as they are now."""
        with self._lock:
            return dict(self._files)

    def put_back(self, held: dict[str, StoredFile]) -> None:
        """Know the files of an earlier server; their bytes are in this directory, wherever that is now."""
        with self._lock:
            self._files |= {
                name: replace(stored, path=self._directory / stored.path.name) for name, stored in held.items()
            }

    def clear(self) -> None:
        """Delete all files."""
        for stored in list(self):
            self.delete(stored.id)
