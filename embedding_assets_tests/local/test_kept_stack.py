"""A stack in a folder: the next one goes on from what the last one held, however that ended."""

from __future__ import annotations

import io
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import boto3
import httpx
import openai
import pytest

from embedding_assets.cli.dev import RECORDS_A_BATCH, Records
from embedding_assets.errors import FolderLockedError, ServiceError
from embedding_assets.local.keeping import SAVE_SECONDS
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.local.test_stack import wait_for_end

KEY = "lines/ü/object"
ROW = {"PK": {"S": "BATCH#a"}, "SK": {"S": "STATUS"}, "GSI1PK": {"S": "STATUS#PENDING"}, "GSI1SK": {"S": "a"}}
WAIT_SECONDS = 60


def client(stack: EmbeddedStack, service: str) -> Any:
    """A client of boto3."""
    made: Any = boto3
    return made.client(
        service,
        endpoint_url=stack.aws_url,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="key",
    )


def openai_client(stack: EmbeddedStack) -> openai.OpenAI:
    """A client of OpenAI's SDK."""
    return openai.OpenAI(api_key="key", base_url=f"{stack.openai_url}/v1")


def fill(stack: EmbeddedStack, latency: float) -> tuple[dict[str, Any], str]:
    """Put an object, one that is deleted, a row and a batch there; the object's head and the batch's id."""
    s3, dynamodb = client(stack, "s3"), client(stack, "dynamodb")
    s3.put_object(Bucket=stack.bucket, Key=KEY, Body=b"one", ContentType="application/json")
    s3.put_object(Bucket=stack.bucket, Key=KEY, Body=b"content", ContentType="application/json")
    s3.put_object(Bucket=stack.bucket, Key="gone", Body=b"gone")
    s3.delete_object(Bucket=stack.bucket, Key="gone")
    dynamodb.put_item(TableName=stack.table_name, Item=ROW)
    request = {
        "custom_id": "a",
        "method": "POST",
        "url": "/v1/embeddings",
        "body": {"model": "text-embedding-3-small", "input": "text"},
    }
    httpx.post(
        f"{stack.openai_url}/_control/plans", json={"next": 1, "plan": {"latency_seconds": latency}}
    ).raise_for_status()
    with openai_client(stack) as sdk:
        file = sdk.files.create(file=("in.jsonl", io.BytesIO(json.dumps(request).encode())), purpose="batch")
        batch = sdk.batches.create(
            input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h", metadata={"m": "1"}
        )
    return s3.head_object(Bucket=stack.bucket, Key=KEY), batch.id


def assert_there(stack: EmbeddedStack, head: dict[str, Any], batch_id: str) -> None:
    """All of it is there, the batch completes, and conditions on what was there hold."""
    s3, dynamodb = client(stack, "s3"), client(stack, "dynamodb")
    found = s3.get_object(Bucket=stack.bucket, Key=KEY)
    assert found["Body"].read() == b"content"
    for name in ("ETag", "LastModified", "ContentType", "ContentLength"):
        assert found[name] == head[name], name
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=stack.bucket)["Contents"]] == [KEY]
    listed = dynamodb.query(
        TableName=stack.table_name,
        IndexName="GSI1",
        KeyConditionExpression="GSI1PK = :status",
        ExpressionAttributeValues={":status": {"S": "STATUS#PENDING"}},
    )
    assert listed["Items"] == [ROW]
    s3.put_object(Bucket=stack.bucket, Key=KEY, Body=b"content", IfMatch=head["ETag"])
    with openai_client(stack) as sdk:
        deadline = time.monotonic() + WAIT_SECONDS
        while (batch := sdk.batches.retrieve(batch_id)).status != "completed":
            assert time.monotonic() < deadline, batch.status
            time.sleep(0.05)
        assert batch.metadata == {"m": "1"}
        answer = json.loads(sdk.files.content(batch.output_file_id or "").text)
        assert answer["custom_id"] == "a"


def test_the_next_one_goes_on(tmp_path: Path) -> None:
    """Objects with their dates and ETags, rows, a batch that was running; also if the folder was moved."""
    with EmbeddedStack(state_dir=tmp_path / "first") as stack:
        head, batch_id = fill(stack, latency=3)
    (tmp_path / "first").rename(tmp_path / "moved")
    for _ in range(2):
        with EmbeddedStack(state_dir=tmp_path / "moved") as stack:
            assert_there(stack, head, batch_id)
            head = client(stack, "s3").head_object(Bucket=stack.bucket, Key=KEY)
    assert len(list((tmp_path / "moved" / "aws" / "objects").iterdir())) == 1, "replaced objects leave no file"


def test_a_kill_loses_at_most_the_last_moment(tmp_path: Path) -> None:
    """What was there for a while survives a kill of both servers at once."""
    with EmbeddedStack(state_dir=tmp_path) as stack:
        head, batch_id = fill(stack, latency=0)
        time.sleep(4 * SAVE_SECONDS)
        for pid in stack.pids.values():
            os.kill(pid, signal.SIGKILL)
        wait_for_end(list(stack.pids.values()))
    with EmbeddedStack(state_dir=tmp_path) as stack:
        assert_there(stack, head, batch_id)


def test_two_at_once_in_one_folder_are_refused(tmp_path: Path) -> None:
    """They would write over each other."""
    with (
        EmbeddedStack(state_dir=tmp_path),
        pytest.raises(FolderLockedError, match="is locked by another process"),
    ):
        EmbeddedStack(state_dir=tmp_path).__enter__()
    with EmbeddedStack(state_dir=tmp_path):
        pass


@pytest.mark.parametrize("file", ["aws/aws.pickle", "openai-files/openai.pickle"])
def test_what_cannot_be_read_is_named_in_one_line(tmp_path: Path, file: str) -> None:
    """A file of another release, say: nothing is overwritten."""
    with EmbeddedStack(state_dir=tmp_path) as stack:
        fill(stack, latency=0)
    (tmp_path / file).write_bytes(b"no pickle")
    with pytest.raises(ServiceError, match=r"cannot be read .*use another folder") as raised:
        EmbeddedStack(state_dir=tmp_path).__enter__()
    assert "\n" not in str(raised.value)
    assert (tmp_path / file).read_bytes() == b"no pickle"


def test_demo_records_go_on_where_the_last_dev_ended(tmp_path: Path) -> None:
    """Batches have the numbers that they would have had, so that planted failures come once."""
    file = tmp_path / "lines.jsonl"
    file.write_text("".join(f'{{"id": "{number}"}}\n' for number in range(2 * RECORDS_A_BATCH + 1)))
    first = Records({"lines": file}, tmp_path)
    path, number = first.next_batch("lines")
    assert (number, path.read_text().splitlines()[0]) == (1, '{"id": "0"}')
    first.note_submitted("lines")
    again = Records({"lines": file}, tmp_path)
    path, number = again.next_batch("lines")
    assert (number, len(path.read_text().splitlines())) == (2, RECORDS_A_BATCH)
    for _ in range(2):
        assert again.databases == ["lines"]
        again.note_submitted("lines")
    assert again.databases == []
