"""An account to examine, real but for what a test breaks; nothing of the doctor may be left in it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from embedding_assets.bucket.store import Store
from embedding_assets.databases import LINES, Database
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.operations.doctor.check import Result, Status
from embedding_assets.operations.doctor.examination import Doctor
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.deltas import MODEL
from embedding_assets_tests.executions.conftest import Workbench

ROUNDS = 4
WRITERS = 8


@dataclass
class Patient:
    """One account. `doctor` examines it; a test replaces what it wants broken."""

    doctor: Doctor
    aws: AwsClients
    untidy: bool = False
    messages: list[str] = field(default_factory=list)

    def examine(self, **changes: Any) -> dict[str, Result]:
        """All results by name."""
        self.doctor = replace(self.doctor, **changes)
        return {result.name: result for result in self.doctor.examine(self.messages.append)}

    def left(self) -> set[str]:
        """Keys, uploads in parts and items of the doctor's that are still there."""
        bucket, table = self.doctor.store.bucket, self.doctor.ledger.table
        found: set[str] = set()
        if bucket in {one["Name"] for one in self.aws.s3.list_buckets()["Buckets"]}:
            listed = self.aws.s3.list_objects_v2(Bucket=bucket, Prefix="dagster/").get("Contents", [])
            uploads = self.aws.s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
            found |= {one["Key"] for one in listed} | {one["Key"] for one in uploads}
        pages = self.aws.dynamodb.get_paginator("list_tables").paginate()
        if any(table in page["TableNames"] for page in pages):
            items = self.aws.dynamodb.scan(TableName=table, ConsistentRead=True)["Items"]
            keys = {next(iter(value.values())) for item in items for name, value in item.items() if name == "PK"}
            found |= {str(key) for key in keys if str(key).startswith("DOCTOR")}
        return found


@pytest.fixture
def patient(store: Store, ledger: Ledger, openai: OpenAIBatches, aws: AwsClients) -> Iterator[Patient]:
    """A good account. Whatever a test does to it, nothing of the doctor is left afterwards."""
    databases: tuple[Database, ...] = (LINES,)
    one = Patient(Doctor(store, aws.s3, ledger, openai, databases, MODEL, ROUNDS, WRITERS), aws)
    yield one
    assert one.untidy or one.left() == set()


@pytest.fixture
def bench(store: Store, ledger: Ledger, tmp_path: Path) -> Workbench:
    """Executions of `lines`."""
    return Workbench(store, ledger, tmp_path)


def named(results: dict[str, Result], status: Status) -> set[str]:
    """The checks that ended so."""
    return {name for name, result in results.items() if result.status is status}


class _Body(io.BytesIO):
    def stream(self, **options: Any) -> Iterator[bytes]:
        """As urllib3's."""
        yield self.read()


def refuse(client: Any, *operations: str) -> None:
    """The service answers these operations (`s3.PutObject`) with 403, without doing anything."""

    def answer(request: Any, **event: Any) -> AWSResponse:
        if "X-Amz-Target" in request.headers:
            body = b'{"__type": "com.amazonaws#AccessDeniedException", "message": "not authorized"}'
            status = 400
        else:
            body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
            status = 403
        return AWSResponse(request.url, status, HTTPHeaders(), _Body(body))

    for operation in operations:
        client.meta.events.register(f"before-send.{operation}", answer)
