"""Real parts: both servers as processes, the real OpenAI SDK, real boto3."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import openai
import pytest
from botocore.config import Config
from openai.types import Batch

from embedding_assets.local.stack import EmbeddedStack

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

FINAL = ("completed", "failed", "expired", "cancelled")
WAIT_SECONDS = 20


@dataclass(frozen=True)
class Server:
    """The OpenAI server as a test sees it: the SDK, and the control API."""

    client: openai.OpenAI
    control: httpx.Client

    def order(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """POST to the control API."""
        response = self.control.post(f"/_control/{path}", json=body or {})
        response.raise_for_status()
        return response.json()

    def plan(self, plan: dict[str, Any], batch_id: str | None = None) -> None:
        """Set the plan of a batch, or of the next one created."""
        self.order("plans", {"plan": plan, **({"batch_id": batch_id} if batch_id else {"next": 1})})

    def counters(self) -> Any:
        """Counts by route."""
        return self.control.get("/_control/counters").json()

    def create(self, lines: Sequence[str], metadata: dict[str, str] | None = None) -> Batch:
        """Upload the lines and create a batch of them."""
        uploaded = self.client.files.create(file=("in.jsonl", "\n".join(lines).encode()), purpose="batch")
        return self.client.batches.create(
            input_file_id=uploaded.id,
            endpoint="/v1/embeddings",
            completion_window="24h",
            metadata=metadata,
        )

    def wait(self, batch_id: str, until: Callable[[Batch], bool] = lambda batch: batch.status in FINAL) -> Batch:
        """Retrieve the batch until the condition holds."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            batch = self.client.batches.retrieve(batch_id)
            if until(batch):
                return batch
            assert time.monotonic() < deadline, f"batch stays {batch.status}"
            time.sleep(0.01)

    def run(self, lines: Sequence[str], plan: dict[str, Any] | None = None) -> Batch:
        """A batch of the lines, when it is final."""
        if plan is not None:
            self.plan(plan)
        return self.wait(self.create(lines).id)

    def lines(self, file_id: str | None) -> list[dict[str, Any]]:
        """The decoded lines of a file; none for an absent file."""
        if not file_id:
            return []
        return [json.loads(line) for line in self.client.files.content(file_id).text.splitlines()]


def request_line(custom_id: str, text: Any = None, *, url: str = "/v1/embeddings", **body: Any) -> str:
    """One line of a batch input file."""
    content = {
        "model": "text-embedding-3-small",
        "input": f"text of {custom_id}" if text is None else text,
        "dimensions": 8,
        **body,
    }
    if content["dimensions"] is None:
        del content["dimensions"]
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": content})


def request_lines(count: int) -> list[str]:
    """Lines with the custom ids r0, r1, …"""
    return [request_line(f"r{index}") for index in range(count)]


@pytest.fixture(scope="package")
def stack() -> Iterator[EmbeddedStack]:
    with EmbeddedStack() as started:
        yield started


@pytest.fixture(scope="package")
def clients(stack: EmbeddedStack) -> Iterator[Server]:
    environment = stack.environment
    with (
        openai.OpenAI(
            base_url=environment["OPENAI_BASE_URL"], api_key=environment["OPENAI_API_KEY"], max_retries=0
        ) as client,
        httpx.Client(base_url=stack.openai_url) as control,
    ):
        yield Server(client, control)


@pytest.fixture
def server(clients: Server) -> Server:
    """The server, with nothing in it."""
    clients.order("reset")
    return clients


def _session(stack: EmbeddedStack) -> boto3.Session:
    return boto3.Session(
        aws_access_key_id=stack.environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=stack.environment["AWS_SECRET_ACCESS_KEY"],
        region_name=stack.environment["AWS_DEFAULT_REGION"],
    )


_CONFIG = Config(max_pool_connections=64, retries={"total_max_attempts": 1})


@pytest.fixture(scope="package")
def s3(stack: EmbeddedStack) -> S3Client:
    return _session(stack).client("s3", endpoint_url=stack.aws_url, config=_CONFIG)


@pytest.fixture(scope="package")
def dynamodb(stack: EmbeddedStack) -> DynamoDBClient:
    return _session(stack).client("dynamodb", endpoint_url=stack.aws_url, config=_CONFIG)
