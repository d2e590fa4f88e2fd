"""The clock beside a service's: told from any answer, also a refusal, and never a reason to stop the others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from embedding_assets.bucket.aws import s3_client
from embedding_assets.bucket.store import Store
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets.operations.doctor.check import Status
from embedding_assets.operations.doctor.clock import check_dynamodb_clock, check_s3_clock, now_utc
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.operations.doctor.conftest import Patient, named, refuse

CLOCKS = {"S3 clock", "DynamoDB clock"}


@pytest.mark.parametrize(
    ("ahead", "status", "said"),
    [
        (50, Status.OK, "within 60 s"),
        (-50, Status.OK, "within 60 s"),
        (100, Status.WARNING, "s ahead of"),
        (-100, Status.WARNING, "s behind"),
        (890, Status.WARNING, "set it"),
        (910, Status.FAILED, "refuses every request"),
        (-3600, Status.FAILED, "refuses every request"),
    ],
)
def test_a_clock_that_is_off(
    aws: AwsClients, store: Store, ledger: Ledger, ahead: int, status: Status, said: str
) -> None:
    """A warning from 60 s, failed from 15 minutes, either way."""

    def wrong() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=ahead)

    for finding in (check_s3_clock(aws.s3, store.bucket, wrong), check_dynamodb_clock(ledger, wrong)):
        assert finding.status is status
        assert said in finding.message


def test_the_other_checks_run_with_a_wrong_clock(patient: Patient) -> None:
    """The clocks alone fail; whether requests are still taken, the others find out."""
    results = patient.examine(now=lambda: datetime.now(UTC) - timedelta(hours=1))
    assert named(results, Status.FAILED) == CLOCKS
    assert named(results, Status.OK) == set(results) - CLOCKS


def test_a_refusal_tells_the_time_too(aws: AwsClients) -> None:
    """A wrong clock is found just where everything is refused: neither bucket nor table is needed."""
    nobody = Ledger("no-such-table", aws.dynamodb)
    assert check_s3_clock(aws.s3, "no-such-bucket", now_utc).status is Status.OK
    assert check_dynamodb_clock(nobody, now_utc).status is Status.OK


def test_a_service_that_tells_no_time(stack: EmbeddedStack, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing to compare with: skipped, with the reason."""
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    silent: Any = s3_client()
    refuse(silent, "s3.HeadBucket")
    finding = check_s3_clock(silent, store.bucket, now_utc)
    assert (finding.status, finding.message) == (Status.SKIPPED, "S3's answer has no readable Date header")
