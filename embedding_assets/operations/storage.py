"""The table and the bucket: what is missing is made, what is there is left as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import WaiterError

from embedding_assets.bucket.aws import dynamodb_client, s3_client, translated
from embedding_assets.errors import NotFoundError, ServiceError
from embedding_assets.ledger.table_definition import create_table, table_definition
from embedding_assets.progress import Progress
from embedding_assets.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

FIRST_REGION = "us-east-1"
"""The one region that S3 does not want to be named."""
MISSING_TABLE = "ResourceNotFoundException"


@dataclass(frozen=True)
class Made:
    """One of both: whether it was there, and the arguments of the call that makes it."""

    kind: Literal["table", "bucket"]
    name: str
    there: bool
    arguments: dict[str, Any]


def make_storage(settings: Settings, progress: Progress, *, dry_run: bool) -> list[Made]:
    """Make the table and the bucket of the settings where they are missing; with `dry_run` only look.

    Raises ServiceError if one cannot be looked at or made, and before anything is made if a look fails.
    """
    dynamodb, s3 = dynamodb_client(), s3_client()
    found = [_table(dynamodb, settings.table_name), _bucket(s3, settings.bucket)]
    for one in found:
        if one.there or dry_run:
            continue
        progress(f"making the {one.kind} {one.name}")
        if one.kind == "table":
            _make_table(dynamodb, one.name)
        else:
            with translated(f"making bucket {one.name}"):
                s3.create_bucket(**one.arguments)
    return found


def _table(dynamodb: DynamoDBClient, name: str) -> Made:
    there = True
    try:
        with translated(f"describing table {name}"):
            dynamodb.describe_table(TableName=name)
    except ServiceError as error:
        if MISSING_TABLE not in str(error):
            raise
        there = False
    return Made("table", name, there, dict(table_definition(name)))


def _make_table(dynamodb: DynamoDBClient, name: str) -> None:
    with translated(f"making table {name}"):
        create_table(dynamodb, name)
        try:
            dynamodb.get_waiter("table_exists").wait(TableName=name)
        except WaiterError as error:
            raise ServiceError(f"making table {name}: it is not active yet: {error}") from None


def _bucket(s3: S3Client, name: str) -> Made:
    there = True
    try:
        with translated(f"looking at bucket {name}"):
            s3.head_bucket(Bucket=name)
    except NotFoundError:
        there = False
    region = s3.meta.region_name
    place = {} if region == FIRST_REGION else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    return Made("bucket", name, there, {"Bucket": name, **place})
