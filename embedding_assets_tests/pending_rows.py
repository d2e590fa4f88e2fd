"""Many PENDING rows at once, as another program would write them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from embedding_assets.databases import LINES
from embedding_assets.ledger.batch_summary import format_instant

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

WRITTEN_AT_ONCE = 25
"""Rows that one BatchWriteItem takes."""


def put_pending(client: DynamoDBClient, table: str, batch_ids: Sequence[str], first: datetime) -> None:
    """Rows of `lines` with the required attributes, submitted a second after each other from `first` on."""
    requests: list[Any] = [
        {"PutRequest": {"Item": _item(batch_id, format_instant(first + timedelta(seconds=number)))}}
        for number, batch_id in enumerate(batch_ids)
    ]
    for start in range(0, len(requests), WRITTEN_AT_ONCE):
        some = requests[start : start + WRITTEN_AT_ONCE]
        if client.batch_write_item(RequestItems={table: some})["UnprocessedItems"]:
            raise RuntimeError("the table took not every row")


def _item(batch_id: str, submitted_at: str) -> dict[str, Any]:
    row = {
        "PK": f"BATCH#{batch_id}",
        "SK": "STATUS",
        "GSI1PK": "STATUS#PENDING",
        "GSI1SK": f"BATCH_TYPE#{LINES.batch_type}#BATCH_ID#{batch_id}",
        "TYPE": "BATCH_SUMMARY",
        "batch_id": batch_id,
        "openai_batch_id": f"openai-{batch_id}",
        "batch_type": LINES.batch_type,
        "status": "PENDING",
        "submitted_at": submitted_at,
    }
    return {name: {"S": value} for name, value in row.items()}
