"""A DynamoDB client whose answers get lost: for conditional writes that the SDK sends again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, cast

from botocore.exceptions import ReadTimeoutError

from embedding_assets.ledger.ledger import Ledger

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Losing = Literal["sent again", "given up"]
WRITES = frozenset({"put_item", "update_item"})


class LosingWrites:
    """Passes everything on. Each write is applied and its answer lost; then it is sent again, or given up.

    `between` is what others do in between.
    """

    def __init__(self, client: DynamoDBClient, losing: Losing, between: Callable[[], None] = lambda: None) -> None:
        self._client = client
        self._losing = losing
        self._between = between

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._client, name)
        if name not in WRITES:
            return real

        def write(**request: Any) -> Any:
            real(**request)
            self._between()
            if self._losing == "given up":
                raise ReadTimeoutError(endpoint_url="http://dynamodb")
            return real(**request)

        return write


def losing_ledger(ledger: Ledger, losing: Losing, between: Callable[[], None] = lambda: None) -> Ledger:
    """The same table, in which every answer to a write gets lost."""
    return Ledger(ledger.table, cast("DynamoDBClient", LosingWrites(ledger.client, losing, between)))
