"""The bucket: whole objects, conditional writes, directories of files. Nothing else here talks to S3."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

from boto3.s3.transfer import TransferConfig
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from embedding_assets.bucket.aws import MAX_CONNECTIONS, PASSING, observed, s3_client, translated
from embedding_assets.calls.adaptive_limit import AdaptiveLimit
from embedding_assets.errors import NotFoundError, PreconditionError, ServiceError, TransientError
from embedding_assets.processes.concurrency import concurrently

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef, ListObjectsV2OutputTypeDef

IN_PARTS_FROM = 32 * 2**20
"""Bytes from which a file is worth a transfer in parts; below, its threads cost more than they bring."""
TRANSFERS = TransferConfig(multipart_threshold=IN_PARTS_FROM, multipart_chunksize=16 * 2**20, max_concurrency=8)
STREAM_TRIES = 3
"""How often a body that broke off is read from its beginning."""
BLOCK = 2**20
DELETE_AT_ONCE = 1000
"""Keys that one DeleteObjects call takes."""


class Encryption(TypedDict, total=False):
    """Parameters of the calls that make an object."""

    ServerSideEncryption: Literal["aws:kms"]
    SSEKMSKeyId: str


@dataclass(frozen=True)
class StoredObject:
    """One listed object; `size` in bytes, `etag` without its quotes."""

    key: str
    size: int
    last_modified: datetime
    etag: str = ""


@dataclass(frozen=True)
class Fetched:
    """An object's bytes together with the ETag that they had."""

    data: bytes
    etag: str


class Store:
    """One bucket.

    Every method raises NotFoundError for a missing key, PreconditionError for a failed condition,
    TransientError for what may pass, ServiceError for the rest. Calls from all threads together are limited: fewer
    at once after S3 says SlowDown, more again after successes. With `kms_key_id` what is written is encrypted by
    that key, else as the bucket does it by default.
    """

    def __init__(
        self,
        bucket: str,
        client: S3Client | None = None,
        single_try: S3Client | None = None,
        kms_key_id: str | None = None,
    ) -> None:
        self._limit = AdaptiveLimit(MAX_CONNECTIONS)
        with translated("S3"):
            self._client = client or observed(s3_client(), self._limit)
            self._single_try = single_try or observed(s3_client(retries=False), self._limit)
        self.bucket = bucket
        self.encryption = Encryption()
        if kms_key_id is not None:
            self.encryption = Encryption(ServerSideEncryption="aws:kms", SSEKMSKeyId=kms_key_id)

    def uri(self, key: str) -> str:
        """The `s3://` address of `key`."""
        return f"s3://{self.bucket}/{key}"

    def get(self, key: str) -> bytes:
        """All bytes of one object."""
        return self.fetch(key).data

    def fetch(self, key: str) -> Fetched:
        """All bytes of one object, and its ETag; a body that broke off is read again."""
        for attempt in _again_if_broken_off():
            with attempt, self._call(f"reading {self.uri(key)}"):
                response = self._client.get_object(Bucket=self.bucket, Key=key)
                with closing(response["Body"]) as body, translated(f"reading {self.uri(key)}", body=True):
                    self._length(key, response)
                    return Fetched(body.read(), response["ETag"])
        raise AssertionError("unreachable: the last try returns or raises")

    def find(self, key: str) -> Fetched | None:
        """Like `fetch`, but None if there is no such object."""
        try:
            return self.fetch(key)
        except NotFoundError:
            return None

    def put(self, key: str, data: bytes, content_type: str = "application/json") -> None:
        """Write one object, whatever was there."""
        with self._call(f"writing {self.uri(key)}"):
            self._client.put_object(
                Bucket=self.bucket, Key=key, Body=data, ContentType=content_type, **self.encryption
            )

    def create(self, key: str, data: bytes) -> None:
        """Write one object if none is; sent once. PreconditionError if there is one."""
        with self._call(f"creating {self.uri(key)}"):
            self._single_try.put_object(
                Bucket=self.bucket,
                Key=key,
                Body=data,
                IfNoneMatch="*",
                ContentType="application/json",
                **self.encryption,
            )

    def replace(self, key: str, data: bytes, etag: str) -> None:
        """Write one object over exactly the one with `etag`; sent once. PreconditionError otherwise.

        Also if there is none: S3 calls that a missing key, other servers a failed condition.
        """
        try:
            with self._call(f"replacing {self.uri(key)}"):
                self._single_try.put_object(
                    Bucket=self.bucket,
                    Key=key,
                    Body=data,
                    IfMatch=etag,
                    ContentType="application/json",
                    **self.encryption,
                )
        except NotFoundError as error:
            raise PreconditionError(str(error)) from error

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Every object under `prefix`, all pages, in key order; a page that broke off is read again."""
        after: dict[str, str] = {}
        while True:
            page = self._page(prefix, after)
            for entry in page.get("Contents", []):
                etag = entry.get("ETag", "").strip('"')
                yield StoredObject(entry["Key"], entry["Size"], entry["LastModified"], etag)
            if not page.get("IsTruncated") or "NextContinuationToken" not in page:
                return
            after = {"ContinuationToken": page["NextContinuationToken"]}

    def _page(self, prefix: str, after: dict[str, str]) -> ListObjectsV2OutputTypeDef:
        for attempt in _again_if_broken_off():
            with attempt, self._call(f"listing {self.uri(prefix)}"):
                return self._client.list_objects_v2(Bucket=self.bucket, Prefix=prefix, **after)  # type: ignore[arg-type]  # a token
        raise AssertionError("unreachable: the last try returns or raises")

    def delete(self, keys: Iterable[str]) -> None:
        """Delete the objects; one that is not there is no error."""
        pending = list(keys)
        for start in range(0, len(pending), DELETE_AT_ONCE):
            chosen = pending[start : start + DELETE_AT_ONCE]
            with self._call(f"deleting {len(chosen)} objects of {self.uri('')}"):
                answer = self._client.delete_objects(
                    Bucket=self.bucket, Delete={"Objects": [{"Key": key} for key in chosen], "Quiet": True}
                )
            for refused in answer.get("Errors", []):
                reason = f"{refused.get('Code', '')} {refused.get('Message', '')}".strip()
                kind = TransientError if refused.get("Code") in PASSING else ServiceError
                raise kind(f"deleting {self.uri(refused.get('Key', ''))}: {reason}")

    def upload_file(self, path: Path, key: str) -> None:
        """Upload one file, in parts side by side where it is large."""
        with self._call(f"uploading {self.uri(key)}"):
            if path.stat().st_size >= IN_PARTS_FROM:
                self._client.upload_file(str(path), self.bucket, key, dict(self.encryption), Config=TRANSFERS)
                return
            with path.open("rb") as stream:
                self._client.put_object(Bucket=self.bucket, Key=key, Body=stream, **self.encryption)

    def download_file(self, key: str, path: Path) -> None:
        """Download one object to `path`, whose folder is made; in parts side by side where it is large."""
        path.parent.mkdir(parents=True, exist_ok=True)
        for attempt in _again_if_broken_off():
            with attempt, self._call(f"downloading {self.uri(key)}"):
                self._download(key, path)

    def _download(self, key: str, path: Path) -> None:
        response = self._client.get_object(Bucket=self.bucket, Key=key)
        with closing(response["Body"]) as body, translated(f"downloading {self.uri(key)}", body=True):
            if self._length(key, response) < IN_PARTS_FROM:
                with path.open("wb") as sink:
                    shutil.copyfileobj(body, sink, BLOCK)
                return
        self._client.download_file(self.bucket, key, str(path), Config=TRANSFERS)

    def _length(self, key: str, response: GetObjectOutputTypeDef) -> int:
        """How many bytes the body has: with that the SDK notices if it is cut.

        S3 always says it. Raises TransientError for an answer that does not: its body may be cut anywhere.
        """
        if "ContentLength" not in response:
            raise TransientError(f"reading {self.uri(key)}: the answer has no Content-Length", broke_off=True)
        return response["ContentLength"]

    @contextmanager
    def _call(self, subject: str) -> Iterator[None]:
        """One call: within the limit, its errors ours."""
        with self._limit.slot(), translated(subject):
            yield

    def upload_files(self, files: Iterable[tuple[Path, str]]) -> None:
        """Upload several files side by side; the first error is raised after all have ended."""
        concurrently([partial(self.upload_file, path, key) for path, key in files])

    def download_files(self, files: Iterable[tuple[str, Path]]) -> None:
        """Download several objects side by side; the first error is raised after all have ended."""
        concurrently([partial(self.download_file, key, path) for key, path in files])


def _again_if_broken_off() -> Retrying:
    """Tries of what ends in the middle of an answer: the SDK tries everything else again by itself."""
    return Retrying(
        stop=stop_after_attempt(STREAM_TRIES),
        wait=wait_random_exponential(multiplier=0.2, max=5),
        retry=retry_if_exception(lambda error: isinstance(error, TransientError) and error.broke_off),
        reraise=True,
    )
