"""The single table as it is made: keys PK, SK, index GSI1 on GSI1PK, GSI1SK, all strings, all attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embedding_assets.ledger.row_table import INDEX

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import CreateTableInputTypeDef


def table_definition(name: str) -> CreateTableInputTypeDef:
    """The arguments of CreateTable."""
    keys = ("PK", "SK", f"{INDEX}PK", f"{INDEX}SK")
    return {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": key, "AttributeType": "S"} for key in keys],
        "KeySchema": [
            {"AttributeName": "PK", "KeyType": "HASH"},
            {"AttributeName": "SK", "KeyType": "RANGE"},
        ],
        "GlobalSecondaryIndexes": [
            {
                "IndexName": INDEX,
                "KeySchema": [
                    {"AttributeName": f"{INDEX}PK", "KeyType": "HASH"},
                    {"AttributeName": f"{INDEX}SK", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    }


def create_table(dynamodb: DynamoDBClient, name: str) -> None:
    """Create the table, which is there a little later."""
    dynamodb.create_table(**table_definition(name))
