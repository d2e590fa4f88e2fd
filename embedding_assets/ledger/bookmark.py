"""The bookmark `MARKED#{database}`: how far marking has come. With the lock's item, the table's witness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from embedding_assets.bucket.aws import translated

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef


@dataclass(frozen=True)
class Marked:
    """`version`: its batches, and those of all its ancestors, are marked. `reached`: marking it has begun."""

    version: str | None
    reached: str | None


class Bookmark:
    """The last version whose batches, and those of all its ancestors, are marked.

    It spares reading the whole chain again: without it, or with an old one, the same rows are marked. And since
    it is written before the first row of a version is marked (`reached`), a row that has its final status always
    comes with a version that the table knows: a pointer that does not hold that version was lost.
    It is an item of the rows' own table, so that a restored table brings its own.
    """

    def __init__(self, client: DynamoDBClient, table: str, database: str) -> None:
        self._client = client
        self._table = table
        self._database = database

    def read(self) -> Marked:
        """What is known; both None if nothing was marked yet."""
        with translated(f"reading the bookmark of {self._database} in table {self._table}"):
            answer = self._client.get_item(TableName=self._table, Key=self._key(), ConsistentRead=True)
        item = answer.get("Item", {})
        return Marked(item.get("version", {}).get("S"), item.get("reached", {}).get("S"))

    def begin(self, version: str) -> None:
        """Note that rows are about to be marked for `version`."""
        with translated(f"writing the bookmark of {self._database} in table {self._table}"):
            self._client.update_item(
                TableName=self._table,
                Key=self._key(),
                UpdateExpression="SET #reached = :reached",
                ExpressionAttributeNames={"#reached": "reached"},
                ExpressionAttributeValues={":reached": {"S": version}},
            )

    def write(self, version: str) -> None:
        """Note that everything up to `version` is marked."""
        with translated(f"writing the bookmark of {self._database} in table {self._table}"):
            self._client.put_item(TableName=self._table, Item={**self._key(), "version": {"S": version}})

    def _key(self) -> dict[str, AttributeValueTypeDef]:
        return {"PK": {"S": f"MARKED#{self._database}"}, "SK": {"S": "MARKED"}}
