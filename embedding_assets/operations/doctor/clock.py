"""This machine's clock beside a service's: AWS refuses requests that were signed 15 minutes off.

The service's time is the `Date` header of any answer, also of a refusal: it is there even if nothing else works.
Source: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, RequestTimeTooSkewed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from embedding_assets.bucket.aws import translated
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.operations.doctor.check import Finding, Status
from embedding_assets.operations.doctor.scratch import DOCTOR_KEY

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

WARNING_SECONDS = 60
REFUSED_SECONDS = 15 * 60

Now = Callable[[], datetime]


def now_utc() -> datetime:
    """This machine's clock."""
    return datetime.now(UTC)


def check_s3_clock(s3: S3Client, bucket: str, now: Now) -> Finding:
    """Compare with S3, whether or not the bucket is there."""
    return _compare("S3", lambda: s3.head_bucket(Bucket=bucket), now)


def check_dynamodb_clock(ledger: Ledger, now: Now) -> Finding:
    """Compare with DynamoDB, whether or not the table is there."""
    key: Any = {"PK": {"S": DOCTOR_KEY}, "SK": {"S": DOCTOR_KEY}}
    return _compare("DynamoDB", lambda: ledger.client.get_item(TableName=ledger.table, Key=key), now)


def _compare(service: str, ask: Callable[[], Mapping[str, Any]], now: Now) -> Finding:
    with translated(f"asking {service} for its time"):
        date = _date(ask)
    here = now()
    if date is None:
        return Finding(Status.SKIPPED, f"{service}'s answer has no readable Date header")
    ahead = (here - date).total_seconds()
    off = f"this machine's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} {service}'s"
    if abs(ahead) >= REFUSED_SECONDS:
        return Finding(Status.FAILED, f"{off}: set it (NTP); from {REFUSED_SECONDS} s AWS refuses every request")
    if abs(ahead) >= WARNING_SECONDS:
        return Finding(Status.WARNING, f"{off}: set it (NTP) before it is {REFUSED_SECONDS} s, then AWS refuses")
    return Finding(Status.OK, f"within {WARNING_SECONDS} s of {service}'s")


def _date(ask: Callable[[], Mapping[str, Any]]) -> datetime | None:
    try:
        answer = ask()
    except ClientError as refusal:
        answer = refusal.response
    try:
        date = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    except (KeyError, ValueError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
