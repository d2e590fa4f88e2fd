"""A bucket, a table, a Dagster home and batches at OpenAI, on local servers: what a benchmark begins with."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from embedding_assets.bucket.aws import dynamodb_client, s3_client
from embedding_assets.cli.home import project_file
from embedding_assets.ledger.batch_summary import parse_instant
from embedding_assets.ledger.table_definition import create_table
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.dagster_defs.runs.world import SUBMITTED, answer_line, request_line, texts
from embedding_assets_tests.pending_rows import put_pending

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
    put_pending(dynamodb_client(), table, batch_ids, parse_instant(SUBMITTED))


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
