"""With a key of KMS, every call that makes an object names it, whoever makes the call."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from botocore.client import BaseClient

from embedding_assets.bucket.store import IN_PARTS_FROM, Store
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.chroma.both_writers import write_by_chroma
from embedding_assets_tests.chroma.test_direct_writer import varied
from embedding_assets_tests.cli.commands import command
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.world import open_world, texts

MAKING = ("PutObject", "CreateMultipartUpload", "CopyObject")
KEY = "alias/embeddings"


@contextmanager
def made() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Every call of the block that makes an object, with its parameters."""
    calls: list[tuple[str, dict[str, Any]]] = []
    send = BaseClient._make_api_call  # type: ignore[attr-defined]

    def noted(client: BaseClient, operation: str, arguments: dict[str, Any]) -> Any:
        if operation in MAKING:
            calls.append((operation, arguments))
        return send(client, operation, arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", noted)
        yield calls


def test_a_whole_life(
    stack: EmbeddedStack, aws: AwsClients, openai_clients: tuple[openai.OpenAI, httpx.Client], tmp_path: Path
) -> None:
    """Submitted, published, rolled back, swept, imported, examined: no write without the key."""
    home, records = tmp_path / "home", tmp_path / "records.jsonl"
    home.mkdir()
    records.write_text(json.dumps({"id": "a", "text": "first"}) + "\n")
    write_by_chroma(tmp_path / "index", varied(3))
    with (
        open_world(stack, aws, openai_clients[1], home, EMBEDDING_ASSETS_KMS_KEY_ID=KEY) as world,
        made() as calls,
    ):
        assert command("submit", "lines", str(records)).code == 0
        for batch_id in ("one", "two"):
            world.plant(batch_id, texts(batch_id, 2))
            assert world.ingest().failures == []
        for arguments in (
            ("snapshots", "rollback", "lines"),
            ("snapshots", "gc", "lines"),
            ("snapshots", "import", "lines", str(tmp_path / "index")),
            ("snapshots", "tag", "lines", "good"),
            ("doctor", "--rounds", "1"),
        ):
            command(*arguments)
        ours = [(name, sent) for name, sent in calls if world.bucket == sent["Bucket"]]
    assert {name for name, _ in ours} == set(MAKING)
    planted = {sent["Key"] for _, sent in ours if "SSEKMSKeyId" not in sent}
    assert {key for key in planted if not key.startswith(("records/one", "records/two"))} == set()
    assert {
        (sent["ServerSideEncryption"], sent["SSEKMSKeyId"]) for _, sent in ours if sent["Key"] not in planted
    } == {("aws:kms", KEY)}


def test_a_large_file_is_sent_in_parts_with_the_key(aws: AwsClients, tmp_path: Path) -> None:
    bucket, large = "encrypted-parts", tmp_path / "large"
    aws.s3.create_bucket(Bucket=bucket)
    large.write_bytes(bytes(IN_PARTS_FROM))
    with made() as calls:
        Store(bucket, aws.s3, aws.s3_once, KEY).upload_file(large, "large")
    assert [(name, sent.get("SSEKMSKeyId")) for name, sent in calls] == [("CreateMultipartUpload", KEY)]
    assert aws.s3.head_object(Bucket=bucket, Key="large")["SSEKMSKeyId"] == KEY


def test_without_a_key_the_default_of_the_bucket_counts(aws: AwsClients) -> None:
    aws.s3.create_bucket(Bucket="plain")
    with made() as calls:
        Store("plain", aws.s3, aws.s3_once).put("one", b"{}")
    assert "ServerSideEncryption" not in calls[0][1]
