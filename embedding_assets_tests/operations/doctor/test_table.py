"""Tables that are not the contract's, told before anything is written to them."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from embedding_assets.bucket.aws import dynamodb_client
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets.operations.doctor.check import Status
from embedding_assets.operations.doctor.table import check_index, check_table
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.operations.doctor.conftest import Patient, named, refuse

KEYS = {"PK": "HASH", "SK": "RANGE"}
INDEX_KEYS = {"GSI1PK": "HASH", "GSI1SK": "RANGE"}


def schema(keys: dict[str, str]) -> Any:
    return [{"AttributeName": name, "KeyType": kind} for name, kind in keys.items()]


def make_table(
    aws: AwsClients,
    keys: dict[str, str] = KEYS,
    index: dict[str, str] | None = INDEX_KEYS,
    projection: str = "ALL",
    number: str | None = None,
) -> Ledger:
    """A table with these keys; the attribute `number` is one, all others are strings."""
    name = f"table-{uuid.uuid4().hex}"
    attributes: Any = [
        {"AttributeName": attribute, "AttributeType": "N" if attribute == number else "S"}
        for attribute in {**keys, **(index or {})}
    ]
    described: Any = {"ProjectionType": projection}
    indexes: Any = {
        "GlobalSecondaryIndexes": [
            {"IndexName": "GSI1", "KeySchema": schema(index or {}), "Projection": described},
        ]
    }
    aws.dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=schema(keys),
        AttributeDefinitions=attributes,
        **(indexes if index else {}),
    )
    return Ledger(name, aws.dynamodb)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"index": None}, "it is missing"),
        ({"index": {"GSI1PK": "HASH"}}, "its RANGE key is None, not GSI1SK"),
        ({"index": {"status": "HASH", "GSI1SK": "RANGE"}}, "its HASH key is status, not GSI1PK"),
        ({"number": "GSI1SK"}, "GSI1SK has the type N"),
        ({"projection": "KEYS_ONLY"}, "its projection is KEYS_ONLY, not ALL"),
    ],
)
def test_an_index_that_is_not_the_contracts(
    patient: Patient, aws: AwsClients, changes: dict[str, Any], said: str
) -> None:
    """Its check alone fails, and says what is wrong with it."""
    results = patient.examine(ledger=make_table(aws, **changes))
    assert named(results, Status.FAILED) == {"DynamoDB index"}
    assert said in results["DynamoDB index"].message
    assert "GSI1" in results["DynamoDB index"].message


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"keys": {"id": "HASH", "SK": "RANGE"}}, "its HASH key is id, not PK"),
        ({"keys": {"PK": "HASH"}}, "its RANGE key is None, not SK"),
        ({"number": "SK"}, "SK has the type N"),
    ],
)
def test_a_table_with_other_keys(patient: Patient, aws: AwsClients, changes: dict[str, Any], said: str) -> None:
    """It says which key is wrong; nothing is written."""
    results = patient.examine(ledger=make_table(aws, **changes))
    assert named(results, Status.FAILED) == {"DynamoDB table"}
    assert said in results["DynamoDB table"].message
    assert results["DynamoDB swept"].message == "nothing was written"


@pytest.fixture
def client(stack: EmbeddedStack, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client that may not describe tables."""
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    made = dynamodb_client()
    refuse(made, "dynamodb.DescribeTable")
    return made


def test_a_table_that_may_not_be_described(patient: Patient, ledger: Ledger, client: Any) -> None:
    """Nothing else needs that permission: its use is tried instead, and the finding says so."""
    results = patient.examine(ledger=Ledger(ledger.table, client))
    assert named(results, Status.OK) == set(results)
    for name in ("DynamoDB table", "DynamoDB index"):
        assert "dynamodb:DescribeTable" in results[name].message


def test_use_finds_a_missing_index_too(patient: Patient, aws: AwsClients, client: Any) -> None:
    """Where the table may not be described, a real query fails."""
    results = patient.examine(ledger=Ledger(make_table(aws, index=None).table, client))
    assert named(results, Status.FAILED) == {"DynamoDB index"}
    assert "add the index GSI1" in results["DynamoDB index"].message


def test_rows_of_the_table_do_not_matter(ledger: Ledger) -> None:
    """Rows that are refused elsewhere are no fault of the table."""
    key = {"PK": {"S": "BATCH#doctor"}, "SK": {"S": "STATUS"}}
    row = {"GSI1PK": {"S": "STATUS#PENDING"}, "GSI1SK": {"S": "BATCH_TYPE#x#BATCH_ID#doctor"}}
    ledger.client.put_item(TableName=ledger.table, Item={**key, **row})
    assert check_table(ledger).status is Status.OK
    assert check_index(ledger).status is Status.OK
