"""S3 and DynamoDB of the embedded stack: conditional writes have exactly one winner under threads."""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from embedding_assets.local.stack import EmbeddedStack

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

RACERS = 32
ROUNDS = 12
PART_BYTES = 8 << 20


@contextmanager
def racing() -> Iterator[Callable[[Callable[[int], object]], Counter[str]]]:
    """A function that lets all racers call at once and counts `won` and error codes."""
    barrier = threading.Barrier(RACERS)
    with ThreadPoolExecutor(RACERS) as pool:

        def race(write: Callable[[int], object]) -> Counter[str]:
            def run(number: int) -> str:
                barrier.wait()
                try:
                    write(number)
                except ClientError as error:
                    return error.response["Error"]["Code"]
                return "won"

            return Counter(pool.map(run, range(RACERS)))

        yield race


def test_if_none_match_has_one_winner(stack: EmbeddedStack, s3: S3Client) -> None:
    with racing() as race:
        for number in range(ROUNDS):

            def write(racer: int, key: str = f"new/{number}") -> None:
                s3.put_object(Bucket=stack.bucket, Key=key, Body=str(racer).encode(), IfNoneMatch="*")

            assert race(write) == {"won": 1, "PreconditionFailed": RACERS - 1}


def test_if_match_has_one_winner_and_its_bytes_stay(stack: EmbeddedStack, s3: S3Client) -> None:
    etag = s3.put_object(Bucket=stack.bucket, Key="pointer", Body=b"start")["ETag"]
    with racing() as race:
        for number in range(ROUNDS):
            won: list[bytes] = []

            def write(racer: int, number: int = number, etag: str = etag, won: list[bytes] = won) -> None:
                body = f"{number}-{racer}".encode()
                s3.put_object(Bucket=stack.bucket, Key="pointer", Body=body, IfMatch=etag)
                won.append(body)

            assert race(write) == {"won": 1, "PreconditionFailed": RACERS - 1}
            read = s3.get_object(Bucket=stack.bucket, Key="pointer")
            assert [read["Body"].read()] == won
            etag = read["ETag"]


def test_conditional_update_has_one_winner(stack: EmbeddedStack, dynamodb: DynamoDBClient) -> None:
    key = {"PK": {"S": "LOCK#lines"}, "SK": {"S": "LOCK"}}
    dynamodb.put_item(TableName=stack.table_name, Item={**key, "epoch": {"N": "0"}})
    with racing() as race:
        for number in range(ROUNDS):

            def write(racer: int, number: int = number) -> None:
                dynamodb.update_item(
                    TableName=stack.table_name,
                    Key=key,
                    UpdateExpression="SET epoch = :new",
                    ConditionExpression="epoch = :old",
                    ExpressionAttributeValues={":old": {"N": str(number)}, ":new": {"N": str(number + 1)}},
                )

            assert race(write) == {"won": 1, "ConditionalCheckFailedException": RACERS - 1}
    item = dynamodb.get_item(TableName=stack.table_name, Key=key)["Item"]
    assert item["epoch"] == {"N": str(ROUNDS)}


def test_if_match_on_nothing_is_no_such_key(stack: EmbeddedStack, s3: S3Client) -> None:
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.put_object(Bucket=stack.bucket, Key="absent", Body=b"", IfMatch='"etag"')


def test_the_index_finds_rows_by_status(stack: EmbeddedStack, dynamodb: DynamoDBClient) -> None:
    for number in range(3):
        dynamodb.put_item(
            TableName=stack.table_name,
            Item={
                "PK": {"S": f"BATCH#b{number}"},
                "SK": {"S": "STATUS"},
                "GSI1PK": {"S": "STATUS#PENDING"},
                "GSI1SK": {"S": f"BATCH_TYPE#LINE_EMBEDDING#BATCH_ID#b{number}"},
                "more": {"S": "kept"},
            },
        )
    found = dynamodb.query(
        TableName=stack.table_name,
        IndexName="GSI1",
        KeyConditionExpression="GSI1PK = :status",
        ExpressionAttributeValues={":status": {"S": "STATUS#PENDING"}},
    )["Items"]
    assert [item["PK"]["S"] for item in found] == ["BATCH#b0", "BATCH#b1", "BATCH#b2"]
    assert {item["more"]["S"] for item in found} == {"kept"}


def test_multipart_copy_ranges_and_unusual_keys(stack: EmbeddedStack, s3: S3Client) -> None:
    content = bytes(range(256)) * (3 * PART_BYTES // 256)
    s3.upload_fileobj(BytesIO(content), stack.bucket, "large")
    back = BytesIO()
    s3.download_fileobj(stack.bucket, "large", back)
    assert back.getvalue() == content
    part = s3.get_object(Bucket=stack.bucket, Key="large", Range="bytes=256-511")["Body"].read()
    assert part == bytes(range(256))
    s3.copy({"Bucket": stack.bucket, "Key": "large"}, stack.bucket, "odd/ä b%2F+c")
    listed = s3.list_objects_v2(Bucket=stack.bucket, Prefix="odd/")["Contents"]
    assert [(item["Key"], item["Size"]) for item in listed] == [("odd/ä b%2F+c", len(content))]


def test_a_connection_is_kept_and_calls_are_fast(stack: EmbeddedStack, s3: S3Client) -> None:
    """Werkzeug's own server closes after each answer; ours must not."""
    taken = []
    for number in range(50):
        start = time.perf_counter()
        response = s3.put_object(Bucket=stack.bucket, Key=f"fast/{number}", Body=b"x" * 1000)
        taken.append(time.perf_counter() - start)
        assert response["ResponseMetadata"]["HTTPHeaders"].get("connection") != "close"
    assert statistics.median(taken) < 0.05
