"""Is everything permitted, and done, that is ever asked of the bucket? Each call is made for real."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embedding_assets.bucket.aws import translated
from embedding_assets.bucket.keys import DOCTOR_PREFIX
from embedding_assets.bucket.store import Store
from embedding_assets.errors import EmbeddingAssetsError, PreconditionError
from embedding_assets.operations.doctor.check import Check, Finding, Status
from embedding_assets.operations.doctor.scratch import ScratchPrefix

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "S3 bucket"
WRITE = "S3 write and read"
DELETE = "S3 delete"


@dataclass(frozen=True)
class BucketChecks:
    """Checks of one bucket. `s3` makes the calls that the store has no method for."""

    store: Store
    s3: S3Client
    scratch: ScratchPrefix

    def all(self) -> tuple[Check, ...]:
        """In the order in which they need each other: nothing is written where it could not be deleted."""
        bucket = f"arn:aws:s3:::{self.store.bucket}"
        objects = f"on {bucket}/*"
        return (
            Check(
                BUCKET,
                self.list,
                f"make the bucket or correct CHROMADB_BUCKET; allow s3:ListBucket on {bucket}",
            ),
            Check(WRITE, self.write, f"allow s3:PutObject and s3:GetObject {objects}", (BUCKET,)),
            Check(DELETE, self.delete, f"allow s3:DeleteObject {objects}", (WRITE,)),
            Check(
                "S3 multipart upload",
                self.upload_in_parts,
                f"allow s3:PutObject and s3:AbortMultipartUpload {objects}",
                (DELETE,),
            ),
            Check(
                "S3 copy",
                self.copy,
                "nothing here copies, but whoever moves versions does",
                (DELETE,),
                weight=Status.WARNING,
            ),
            Check("S3 conditions", self.conditions, f"allow s3:PutObject {objects}", (DELETE,)),
        )

    def list(self) -> Finding:
        """The bucket is there and tells its keys."""
        for _ in self.store.list(DOCTOR_PREFIX):
            break
        return Finding(Status.OK, f"{self.store.uri('')} is there and can be listed")

    def write(self) -> Finding:
        """What was written is what is read and listed, at once; also what was written over it."""
        key = self.scratch.key("object")
        if self.store.find(key) is not None:
            return Finding(Status.FAILED, "a key that was never written is read: this is not a bucket")
        for data in (b"first", b"then another"):
            self.store.put(key, data)
            listed = [(entry.key, entry.size) for entry in self.store.list(self.scratch.prefix)]
            if self.store.get(key) != data or listed != [(key, len(data))]:
                return Finding(
                    Status.FAILED,
                    "what was just written is not what is read or listed: this server is not strongly "
                    "consistent, as S3 is; use one that is",
                )
        return Finding(Status.OK, "objects are written, read and listed as they were just written")

    def delete(self) -> Finding:
        """What was deleted is gone, at once."""
        key = self.scratch.key("object")
        self.store.delete([key])
        if self.store.find(key) is not None or any(self.store.list(self.scratch.prefix)):
            return Finding(
                Status.FAILED, "a deleted object is still there: a gc would free nothing; is it locked?"
            )
        return Finding(Status.OK, "objects are deleted")

    def upload_in_parts(self) -> Finding:
        """As files from 32 MB are uploaded: once given up, once brought to its end."""
        key, data = self.scratch.key("in parts"), uuid.uuid4().hex.encode()
        with self._upload(key) as given_up:
            self._abort(key, given_up)
        with self._upload(key) as upload_id, translated(f"uploading {self.store.uri(key)} in parts"):
            part = self.s3.upload_part(
                Bucket=self.store.bucket, Key=key, UploadId=upload_id, PartNumber=1, Body=data
            )
            self.s3.complete_multipart_upload(
                Bucket=self.store.bucket,
                Key=key,
                UploadId=upload_id,
                MultipartUpload={"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]},
            )
        return self._same("an upload in parts", key, data)

    def copy(self) -> Finding:
        """Inside the bucket."""
        source, target, data = self.scratch.key("source"), self.scratch.key("copy"), uuid.uuid4().hex.encode()
        self.store.put(source, data)
        with translated(f"copying {self.store.uri(source)}"):
            self.s3.copy_object(
                Bucket=self.store.bucket,
                Key=target,
                CopySource={"Bucket": self.store.bucket, "Key": source},
                **self.store.encryption,
            )
        return self._same("a copy", target, data)

    def conditions(self) -> Finding:
        """One after the other: what is there is not created again, and not replaced by a stale ETag."""
        key = self.scratch.key("conditional")
        self.store.create(key, b"first")
        problems: list[str] = []
        with _expect_refusal(problems, "a second If-None-Match creation of one key"):
            self.store.create(key, b"created again")
        stale = self.store.fetch(key).etag
        self.store.replace(key, b"second", stale)
        with _expect_refusal(problems, "an If-Match replacement with a stale ETag"):
            self.store.replace(key, b"replaced again", stale)
        if not problems and self.store.get(key) != b"second":
            problems.append("a write that was answered with a refusal")
        if problems:
            return Finding(
                Status.FAILED,
                f"this bucket let through {' and '.join(problems)}: a version could be published over another; "
                "use a server that honours both conditions, as S3 does",
            )
        return Finding(Status.OK, "a second creation and a stale ETag are refused")

    def _same(self, what: str, key: str, data: bytes) -> Finding:
        if self.store.get(key) != data:
            return Finding(Status.FAILED, f"{what} has other bytes than were sent: do not use this server")
        return Finding(Status.OK, f"{what} arrives as it was sent")

    @contextmanager
    def _upload(self, key: str) -> Iterator[str]:
        """A begun upload in parts, given up if anything goes wrong: it would be stored, and paid, unseen."""
        with translated(f"beginning to upload {self.store.uri(key)} in parts"):
            upload_id = self.s3.create_multipart_upload(
                Bucket=self.store.bucket, Key=key, **self.store.encryption
            )["UploadId"]
        try:
            yield upload_id
        except BaseException:
            with suppress(EmbeddingAssetsError):
                self._abort(key, upload_id)
            raise

    def _abort(self, key: str, upload_id: str) -> None:
        with translated(f"giving up the upload of {self.store.uri(key)} in parts"):
            self.s3.abort_multipart_upload(Bucket=self.store.bucket, Key=key, UploadId=upload_id)


@contextmanager
def _expect_refusal(problems: list[str], what: str) -> Iterator[None]:
    try:
        yield
    except PreconditionError:
        return
    problems.append(what)
