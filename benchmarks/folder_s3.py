"""A bucket that is a folder: the calls of the S3 client that the store makes, as plain file copies.

Merging is measured with it, so that neither a server's nor a network's speed is part of a figure; what is
compared with copies files the same way.
"""

from __future__ import annotations

import hashlib
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError


class FolderS3:
    """Objects are files below `folder`; ETags are hashes of their bytes where a condition asks for them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        """One object, as a stream."""
        path = self._existing(Bucket, Key)
        return {"Body": path.open("rb"), "ContentLength": path.stat().st_size, "ETag": "none"}

    def put_object(self, Bucket: str, Key: str, Body: Any, **_: Any) -> dict[str, Any]:
        """Write one object."""
        path = self._path(Bucket, Key)
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(Body, bytes):
            path.write_bytes(Body)
        else:
            shutil.copyfile(Body.name, path)
        return {}

    def upload_file(self, Filename: str, Bucket: str, Key: str, ExtraArgs: object = None, **_: Any) -> None:
        """Write one object from a file."""
        path = self._path(Bucket, Key)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Filename, path)

    def download_file(self, Bucket: str, Key: str, Filename: str, **_: Any) -> None:
        """Bring one object to a file."""
        shutil.copyfile(self._existing(Bucket, Key), Filename)

    def delete_objects(self, Bucket: str, Delete: dict[str, Any]) -> dict[str, Any]:
        """Delete objects; one that is not there is no error."""
        for entry in Delete["Objects"]:
            self._path(Bucket, entry["Key"]).unlink(missing_ok=True)
        return {}

    def list_objects_v2(self, Bucket: str, Prefix: str) -> dict[str, Any]:
        """Every object under a prefix, in one page."""
        top = self._folder / Bucket
        start = (top / Prefix) if Prefix.endswith("/") else (top / Prefix).parent
        contents: list[dict[str, Any]] = [
            {
                "Key": path.relative_to(top).as_posix(),
                "Size": path.stat().st_size,
                "LastModified": datetime.fromtimestamp(path.stat().st_mtime, UTC),
                "ETag": hashlib.sha256(path.as_posix().encode()).hexdigest(),
            }
            for path in sorted(start.rglob("*"))
            if path.is_file()
        ]
        return {"Contents": [entry for entry in contents if entry["Key"].startswith(Prefix)]}

    def _path(self, bucket: str, key: str) -> Path:
        return self._folder / bucket / key

    def _existing(self, bucket: str, key: str) -> Path:
        path = self._path(bucket, key)
        if not path.is_file():
            missing: Any = {"Error": {"Code": "NoSuchKey"}, "ResponseMetadata": {"HTTPStatusCode": 404}}
            raise ClientError(missing, "GetObject")
        return path
