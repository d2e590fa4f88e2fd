"""The whole examination: a good account, accounts without bucket, table or permissions, and what is left of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from embedding_assets.bucket.aws import dynamodb_client, s3_client
from embedding_assets.bucket.store import Store
from embedding_assets.databases import LINES, WORDS
from embedding_assets.errors import ServiceError, TransientError
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets.operations.doctor.check import Check, Finding, Status, run_checks
from embedding_assets_tests.operations.doctor.conftest import ROUNDS, Patient, named, refuse

BUCKET_DEPENDENT = {
    "S3 write and read",
    "S3 delete",
    "S3 multipart upload",
    "S3 copy",
    "S3 conditions",
    "S3 creation race",
    "S3 replacement race",
    "lines published",
}
TABLE_DEPENDENT = {
    "DynamoDB index",
    "DynamoDB write and read",
    "DynamoDB delete",
    "DynamoDB creation race",
    "DynamoDB update race",
    "lines lock",
    "lines published",
}
ALWAYS = {
    "S3 clock",
    "S3 bucket",
    "DynamoDB clock",
    "DynamoDB table",
    "OpenAI key",
    "OpenAI model",
    "S3 swept",
    "DynamoDB swept",
}


@pytest.fixture(autouse=True)
def _environment(stack: EmbeddedStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients made here speak to the stack."""
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)


def test_a_good_account(patient: Patient) -> None:
    """Every check is ok, each is told at its start and in one line, every database has its own."""
    results = patient.examine(databases=(LINES, WORDS))
    both = {"words published", "words lock"}
    assert named(results, Status.OK) == set(results) == ALWAYS | BUCKET_DEPENDENT | TABLE_DEPENDENT | both
    assert patient.messages == list(results)
    assert all(result.message and "\n" not in result.message for result in results.values())
    assert all(result.seconds >= 0 for result in results.values())
    assert results["lines published"].message == "nothing published yet"


def test_a_missing_bucket(patient: Patient) -> None:
    """It is named; what needs it is skipped with the reason; the table's checks run all the same."""
    results = patient.examine(store=Store("no-such-bucket", patient.aws.s3, patient.aws.s3_once))
    assert named(results, Status.FAILED) == {"S3 bucket"}
    assert named(results, Status.SKIPPED) == BUCKET_DEPENDENT
    assert "no-such-bucket" in results["S3 bucket"].message
    assert "CHROMADB_BUCKET" in results["S3 bucket"].message
    assert "“S3 bucket”" in results["S3 write and read"].message


def test_a_missing_table(patient: Patient) -> None:
    """It is named; what needs it is skipped with the reason; the bucket's checks run all the same."""
    results = patient.examine(ledger=Ledger("no-such-table", patient.aws.dynamodb))
    assert named(results, Status.FAILED) == {"DynamoDB table"}
    assert named(results, Status.SKIPPED) == TABLE_DEPENDENT
    assert "no-such-table" in results["DynamoDB table"].message
    assert "DYNAMODB_TABLE_NAME" in results["DynamoDB table"].message


@pytest.mark.parametrize(
    ("operation", "check", "permission"),
    [
        ("ListObjectsV2", "S3 bucket", "s3:ListBucket"),
        ("PutObject", "S3 write and read", "s3:PutObject"),
        ("GetObject", "S3 write and read", "s3:GetObject"),
        ("CreateMultipartUpload", "S3 multipart upload", "s3:PutObject"),
        ("UploadPart", "S3 multipart upload", "s3:PutObject"),
        ("CompleteMultipartUpload", "S3 multipart upload", "s3:PutObject"),
    ],
)
def test_an_s3_permission_that_is_missing(
    patient: Patient, store: Store, operation: str, check: str, permission: str
) -> None:
    """The check that needs it fails and names it; nothing half uploaded stays."""
    s3 = s3_client()
    refuse(s3, f"s3.{operation}")
    results = patient.examine(store=Store(store.bucket, s3, patient.aws.s3_once), s3=s3)
    assert check in named(results, Status.FAILED)
    assert "AccessDenied" in results[check].message
    assert permission in results[check].message
    assert named(results, Status.FAILED) <= {check, "lines published"}


def test_objects_that_cannot_be_deleted(patient: Patient, store: Store) -> None:
    """One object is all that stays: the races are not begun, and what stays is told."""
    s3 = s3_client()
    refuse(s3, "s3.DeleteObjects")
    results = patient.examine(store=Store(store.bucket, s3, patient.aws.s3_once))
    assert named(results, Status.FAILED) == {"S3 delete"}
    assert named(results, Status.WARNING) == {"S3 swept"}
    assert "s3:DeleteObject" in results["S3 delete"].message
    (left,) = patient.left()
    assert left.rpartition("/")[0] in results["S3 swept"].message
    patient.untidy = True


def test_copying_is_not_relied_on(patient: Patient) -> None:
    """A bucket that cannot copy is worth a warning."""
    s3 = s3_client()
    refuse(s3, "s3.CopyObject")
    results = patient.examine(s3=s3)
    assert named(results, Status.WARNING) == {"S3 copy"}
    assert named(results, Status.FAILED) == set()


@pytest.mark.parametrize(
    ("operation", "check", "permission"),
    [
        ("BatchGetItem", "DynamoDB table", "dynamodb:BatchGetItem"),
        ("Query", "DynamoDB index", "dynamodb:Query"),
        ("PutItem", "DynamoDB write and read", "dynamodb:PutItem"),
        ("UpdateItem", "DynamoDB update race", "dynamodb:UpdateItem"),
    ],
)
def test_a_dynamodb_permission_that_is_missing(
    patient: Patient, ledger: Ledger, operation: str, check: str, permission: str
) -> None:
    """The check that needs it fails and names it."""
    client = dynamodb_client()
    refuse(client, f"dynamodb.{operation}")
    results = patient.examine(ledger=Ledger(ledger.table, client))
    assert named(results, Status.FAILED) == {check}
    assert permission in results[check].message


def test_items_that_cannot_be_deleted(patient: Patient, ledger: Ledger) -> None:
    """Nothing but the doctor deletes items: a warning, the update race still runs, the one item is told."""
    client = dynamodb_client()
    refuse(client, "dynamodb.DeleteItem")
    results = patient.examine(ledger=Ledger(ledger.table, client))
    assert named(results, Status.FAILED) == set()
    assert named(results, Status.WARNING) == {"DynamoDB delete", "DynamoDB swept"}
    assert named(results, Status.SKIPPED) == {"DynamoDB creation race"}
    (left,) = patient.left()
    assert left in results["DynamoDB swept"].message
    patient.untidy = True


def test_an_interruption_is_swept_after(patient: Patient) -> None:
    """Ctrl-C in the middle of the races ends the examination; nothing stays."""

    def interrupt(name: str) -> None:
        if name == "DynamoDB update race":
            assert len(patient.left()) > ROUNDS
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        patient.doctor.examine(interrupt)
    assert patient.left() == set()


def test_only_what_passed_lets_others_run() -> None:
    """An error of ours is a failed check with what to do, of the check's own weight; the next one runs."""

    def refused() -> Finding:
        raise ServiceError("no\nway")

    def lost() -> Finding:
        raise TransientError("lost")

    def fine() -> Finding:
        return Finding(Status.OK, "fine")

    first = Check("first", refused, "ask for it")
    checks = [
        first,
        replace(first, name="second", weight=Status.WARNING),
        Check("third", lost, "ask for it"),
        Check("fourth", fine, "", ("second",)),
        Check("fifth", fine, ""),
    ]
    results = run_checks(checks, lambda name: None)
    assert [(result.status.value, result.message.split(";")[0]) for result in results] == [
        ("failed", "no way"),
        ("warning", "no way"),
        ("failed", "lost"),
        ("skipped", "not tried: it needs “second” to be ok"),
        ("ok", "fine"),
    ]
    assert results[0].message.endswith("; ask for it")
    assert "try again" in results[2].message
