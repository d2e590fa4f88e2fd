"""A bucket that remembers which objects were written, in which order, and which were read."""

from __future__ import annotations

from pathlib import Path

from embedding_assets.bucket.store import Fetched, Store


class RecordingStore(Store):
    """The same bucket as `store`; `written` and `read` list the keys of whole objects and files."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.bucket, store._client, store._single_try)
        self.written: list[str] = []
        self.read: list[str] = []

    def fetch(self, key: str) -> Fetched:
        self.read.append(key)
        return super().fetch(key)

    def download_file(self, key: str, path: Path) -> None:
        self.read.append(key)
        super().download_file(key, path)

    def put(self, key: str, data: bytes, content_type: str = "application/json") -> None:
        super().put(key, data, content_type)
        self.written.append(key)

    def create(self, key: str, data: bytes) -> None:
        super().create(key, data)
        self.written.append(key)

    def upload_file(self, path: Path, key: str) -> None:
        super().upload_file(path, key)
        self.written.append(key)
