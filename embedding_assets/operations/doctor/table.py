"""Is the table the one of the contract: keys, index, and reads that answer?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from embedding_assets.bucket.aws import translated
from embedding_assets.errors import ServiceError
from embedding_assets.ledger.batch_summary import LIVE
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.ledger.row_table import INDEX
from embedding_assets.operations.doctor.check import Check, Finding, Status

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import (
        AttributeDefinitionTypeDef,
        GlobalSecondaryIndexDescriptionTypeDef,
        KeySchemaElementTypeDef,
        TableDescriptionTypeDef,
    )

TABLE = "DynamoDB table"
ABSENT_BATCH = "doctor"
"""A batch id to ask for; whether there is one does not matter."""
UNSEEN = "its definition cannot be seen (dynamodb:DescribeTable), its use works"


def table_checks(ledger: Ledger) -> tuple[Check, ...]:
    """The table, then its index."""
    return (
        Check(
            TABLE,
            lambda: check_table(ledger),
            "run `embedding-assets init` or correct DYNAMODB_TABLE_NAME; allow dynamodb:BatchGetItem on it",
        ),
        Check(
            "DynamoDB index",
            lambda: check_index(ledger),
            f"add the index {INDEX} that `embedding-assets init` makes; allow dynamodb:Query on it",
            (TABLE,),
        ),
    )


def check_table(ledger: Ledger) -> Finding:
    """Its keys are PK and SK, strings, and rows can be read."""
    table = _described(ledger)
    if table is not None:
        problems = list(_key_problems(table, table.get("KeySchema", []), ("PK", "SK")))
        if problems:
            return Finding(
                Status.FAILED,
                f"table {ledger.table}: {'; '.join(problems)}: `embedding-assets init` makes a right one",
            )
    ledger.get_many([ABSENT_BATCH])
    return Finding(Status.OK, f"table {ledger.table}: {UNSEEN if table is None else 'its keys are PK and SK'}")


def check_index(ledger: Ledger) -> Finding:
    """It has the contract's keys and all attributes, and lists each live status."""
    table = _described(ledger)
    if table is not None:
        problems = list(_index_problems(table))
        if problems:
            return Finding(
                Status.FAILED,
                f"index {INDEX}: {'; '.join(problems)}: `embedding-assets init` makes it with a new table",
            )
    for status in LIVE:
        next(ledger.by_status(status), None)
    seen = UNSEEN if table is None else "its keys and attributes are right"
    return Finding(Status.OK, f"index {INDEX} lists each live status; {seen}")


def _described(ledger: Ledger) -> TableDescriptionTypeDef | None:
    """The table's definition; None if it is refused: nothing else here needs that permission."""
    try:
        with translated(f"describing table {ledger.table}"):
            return ledger.client.describe_table(TableName=ledger.table)["Table"]
    except ServiceError:
        return None


def _index_problems(table: TableDescriptionTypeDef) -> Iterator[str]:
    found: Sequence[GlobalSecondaryIndexDescriptionTypeDef] = table.get("GlobalSecondaryIndexes", [])
    index = next((one for one in found if one.get("IndexName") == INDEX), None)
    if index is None:
        yield "it is missing"
        return
    yield from _key_problems(table, index.get("KeySchema", []), (f"{INDEX}PK", f"{INDEX}SK"))
    projection = index.get("Projection", {}).get("ProjectionType")
    if projection != "ALL":
        yield f"its projection is {projection}, not ALL"
    status = index.get("IndexStatus", "ACTIVE")
    if status != "ACTIVE":
        yield f"its status is {status}"


def _key_problems(
    table: TableDescriptionTypeDef, schema: Sequence[KeySchemaElementTypeDef], names: tuple[str, str]
) -> Iterator[str]:
    keys: dict[str, str] = {element["KeyType"]: element["AttributeName"] for element in schema}
    definitions: Sequence[AttributeDefinitionTypeDef] = table.get("AttributeDefinitions", [])
    types = {one["AttributeName"]: one["AttributeType"] for one in definitions}
    for kind, name in zip(("HASH", "RANGE"), names, strict=True):
        found = keys.get(kind)
        if found != name:
            yield f"its {kind} key is {found}, not {name}"
        elif types.get(name) != "S":
            yield f"{name} has the type {types.get(name)}, not S (string)"
