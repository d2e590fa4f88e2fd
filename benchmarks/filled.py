"""A bucket, a table, a Dagster home and batches at OpenAI, on local servers: what a benchmark begins with."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from embedding_assets.aws import dynamodb_client, s3_client
from embedding_assets.cli.home import project_file
from embedding_assets.databases import LINES
from embedding_assets.ledger.batch_summary import format_instant, parse_instant
from embedding_assets.local.stack import EmbeddedStack, create_table
from embedding_assets_tests.orchestration.world import SUBMITTED, answer_line, request_line, texts

WRITTEN_AT_ONCE = 25
PLANTED_AT_ONCE = 8

Planted = dict[str, Any]


@contextmanager
def place(stack: EmbeddedStack) -> Iterator[dict[str, str]]:
    """An empty bucket, table and Dagster home; gives the environment that leads there.

    The credentials of `stack` must be in the environment of this process.
    """
    names = {
        "CHROMADB_BUCKET": f"bucket-{uuid.uuid4().hex}",
        "DYNAMODB_TABLE_NAME": f"table-{uuid.uuid4().hex}",
    }
    s3_client().create_bucket(Bucket=names["CHROMADB_BUCKET"])
    create_table(dynamodb_client(), names["DYNAMODB_TABLE_NAME"])
    with TemporaryDirectory(prefix="embedding-assets-benchmark-") as home:
        shutil.copyfile(project_file("dagster.yaml"), Path(home) / "dagster.yaml")
        yield {**stack.environment, **names, "DAGSTER_HOME": home}


def put_rows(table: str, batch_ids: Sequence[str]) -> None:
    """PENDING rows of lines, submitted a second after each other."""
    client = dynamodb_client()
    first = parse_instant(SUBMITTED)
    items = [
        {"PutRequest": {"Item": _item(batch_id, format_instant(first + timedelta(seconds=number)))}}
        for number, batch_id in enumerate(batch_ids)
    ]
    for start in range(0, len(items), WRITTEN_AT_ONCE):
        some: Any = {table: items[start : start + WRITTEN_AT_ONCE]}
        if client.batch_write_item(RequestItems=some)["UnprocessedItems"]:
            raise RuntimeError("the table took not every row")


def plant(openai_url: str, batch_ids: Sequence[str], planted: Callable[[str], Planted]) -> None:
    """Batches at OpenAI, created when the first was submitted, each with what `planted` gives for its id."""
    created = int(parse_instant(SUBMITTED).timestamp())
    with httpx.Client(base_url=openai_url) as control, ThreadPoolExecutor(PLANTED_AT_ONCE) as pool:

        def one(batch_id: str) -> None:
            body = {"id": f"openai-{batch_id}", "created_at": created, **planted(batch_id)}
            control.post("/_control/batches", json=body).raise_for_status()

        control.post("/_control/reset").raise_for_status()
        list(pool.map(one, batch_ids))


def completed(batch_id: str, records: int) -> Planted:
    """What OpenAI has of a completed batch: so many records of 8 dimensions, all embedded."""
    wanted = texts(f"{batch_id}-", records, seed=hash_of(batch_id))
    return {
        "status": "completed",
        "input": "\n".join(map(request_line, wanted)),
        "output": "\n".join(map(answer_line, wanted)),
    }


def hash_of(batch_id: str) -> int:
    """A number of one's own for each batch, the same every time."""
    return int.from_bytes(batch_id.encode()[-4:], "big")


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
