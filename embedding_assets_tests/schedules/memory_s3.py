"""S3 in memory, as far as the product uses it: whole objects, conditional writes, listings; one lock for all.

It exists for thousands of schedules that would take hours against a server; `test_memory.py` holds it against one.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError


@dataclass(frozen=True)
class _Object:
    data: bytes
    etag: str
    last_modified: datetime


class MemoryS3:
    """One bucket, whatever it is called. `ages` makes every object look so much older than it is."""

    def __init__(self) -> None:
        self._objects: dict[str, _Object] = {}
        self._lock = threading.Lock()
        self.ages = timedelta(0)

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        """As boto3's."""
        with self._lock:
            found = self._objects.get(Key)
        if found is None:
            raise _refusal("NoSuchKey", 404)
        return {"Body": io.BytesIO(found.data), "ETag": found.etag, "ContentLength": len(found.data)}

    def put_object(
        self,
        *,
        Bucket: str,
        Key: str,
        Body: Any,
        IfMatch: str | None = None,
        IfNoneMatch: str | None = None,
        ContentType: str = "",
    ) -> dict[str, Any]:
        """As boto3's."""
        data = Body if isinstance(Body, bytes) else Body.read()
        etag = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
        with self._lock:
            there = self._objects.get(Key)
            if IfNoneMatch is not None and there is not None:
                raise _refusal("PreconditionFailed", 412)
            if IfMatch is not None and there is None:
                raise _refusal("NoSuchKey", 404)
            if IfMatch is not None and there is not None and there.etag != IfMatch:
                raise _refusal("PreconditionFailed", 412)
            self._objects[Key] = _Object(data, etag, datetime.now(UTC))
        return {"ETag": etag}

    def create_bucket(self, *, Bucket: str) -> dict[str, Any]:
        """There is one already."""
        return {}

    def delete_objects(self, *, Bucket: str, Delete: dict[str, Any]) -> dict[str, Any]:
        """As boto3's."""
        with self._lock:
            for entry in Delete["Objects"]:
                self._objects.pop(entry["Key"], None)
        return {}

    def list_objects_v2(self, *, Bucket: str, Prefix: str = "") -> dict[str, Any]:
        """As boto3's, all in one page."""
        with self._lock:
            found = sorted((key, one) for key, one in self._objects.items() if key.startswith(Prefix))
        return {
            "Contents": [
                {
                    "Key": key,
                    "Size": len(one.data),
                    "LastModified": one.last_modified - self.ages,
                    "ETag": one.etag,
                }
                for key, one in found
            ]
        }

    def get_paginator(self, operation: str) -> Pages:
        """As boto3's."""
        return Pages(self, operation)


class Pages:
    """A paginator of one page, of any client."""

    def __init__(self, client: Any, operation: str) -> None:
        self._client = client
        self._operation = operation

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        """As boto3's."""
        yield getattr(self._client, self._operation)(**request)


def _refusal(code: str, status: int) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "memory",
    )
