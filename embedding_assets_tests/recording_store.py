"""A bucket that remembers which objects were written, in which order."""

from __future__ import annotations

from pathlib import Path

from embedding_assets.snapshots.store import Store


class RecordingStore(Store):
    """The same bucket as `store`; `written` lists the keys of whole objects and files."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.bucket, store._client, store._single_try)
        self.written: list[str] = []

    def put(self, key: str, data: bytes, content_type: str = "application/json") -> None:
        super().put(key, data, content_type)
        self.written.append(key)

    def upload_file(self, path: Path, key: str) -> None:
        super().upload_file(path, key)
        self.written.append(key)
