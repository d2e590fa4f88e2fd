"""Real parts: the embedded stack as server processes, a bucket and a table of its own for each test.

No test reaches a real cloud: before anything starts, every variable that could lead there is removed, and
what stays points at a port where nobody listens.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import hypothesis
import openai as openai_sdk
import pytest

from embedding_assets.bucket.aws import dynamodb_client, s3_client
from embedding_assets.bucket.store import Store
from embedding_assets.chroma.client import RUNTIME_THREADS
from embedding_assets.databases import LINES
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.ledger.table_definition import create_table
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.openai_batches.poll import Poller
from embedding_assets.services import Services
from embedding_assets.settings import Settings
from embedding_assets_tests.prepared_once import prepared_once
from embedding_assets_tests.seaweed import Seaweed

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

hypothesis.settings.register_profile("same every time", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("same every time")

NOBODY = "http://127.0.0.1:9"
OURS = ("AWS_", "OPENAI_", "EMBEDDING_ASSETS_", "CHROMA", "DYNAMODB_", "DAGSTER_HOME")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
NO_CLOUD = {
    "AWS_ENDPOINT_URL": NOBODY,
    "AWS_ACCESS_KEY_ID": "fake",
    "AWS_SECRET_ACCESS_KEY": "fake",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "OPENAI_API_KEY": "fake",
    "OPENAI_BASE_URL": f"{NOBODY}/v1",
}
BUCKETS_AT_ONCE = 32
S3_SERVERS = {"moto": "aws", "seaweed": "seaweed"}
"""The S3 servers, and the fixtures that give their clients."""


GRACE_SECONDS = 60.0
"""After the time limit of a test."""

IN_MEMORY = Path("/dev/shm")
ENOUGH_BYTES = 4 * 2**30


def pytest_configure() -> None:
    """Keep temporary files in memory if there is room: Dagster's databases wait for the disk at each event.

    Clients of Chroma that tests make themselves have one thread too: see `embedding_assets.chroma.client`.
    """
    os.environ[RUNTIME_THREADS] = "1"
    if "TMPDIR" not in os.environ and IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free >= ENOUGH_BYTES:
        os.environ["TMPDIR"] = str(IN_MEMORY)
        tempfile.tempdir = None


def pytest_collection_finish() -> None:
    """What is imported by now stays: the garbage collector need not look at it again and again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """End the process of a test in which a native library holds Python: no signal is handled then.

    The other workers go on, and the test counts as failed.
    """
    marker = item.get_closest_marker("timeout")
    limit = marker.args[0] if marker else item.config.getoption("timeout") or item.config.getini("timeout")
    faulthandler.dump_traceback_later(float(limit) + GRACE_SECONDS, exit=True, file=sys.stderr.fileno())
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="session", autouse=True)
def _prepared_once() -> Iterator[None]:
    with prepared_once():
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_cloud() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(OURS) or name.upper() in PROXIES:
                patch.delenv(name)
        for name, value in NO_CLOUD.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(autouse=True)
def _own_environment(_no_cloud: None) -> Iterator[None]:
    """What a test, or a `.env` that it loads, puts into the environment ends with it."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@dataclass(frozen=True)
class S3Clients:
    """Clients of one S3 server, made as the product makes them, once for all tests."""

    s3: S3Client
    s3_once: S3Client

    def own_bucket(self) -> Store:
        """A new bucket."""
        bucket = f"bucket-{uuid.uuid4().hex}"
        self.s3.create_bucket(Bucket=bucket)
        return Store(bucket, self.s3, self.s3_once)


@dataclass(frozen=True)
class SeaweedClients(S3Clients):
    """Clients of SeaweedFS, and buckets in which it has written.

    Over a bucket's first object it takes 0.2 s, over several at once 1 s, however many buckets do so meanwhile.
    """

    written_in: list[Store] = field(default_factory=list)

    def own_bucket(self) -> Store:
        if not self.written_in:
            with ThreadPoolExecutor(BUCKETS_AT_ONCE) as pool:
                self.written_in.extend(pool.map(lambda _: self._make(), range(BUCKETS_AT_ONCE)))
        return self.written_in.pop()

    def _make(self) -> Store:
        store = super().own_bucket()
        store.put("first", b"first")
        store.delete(["first"])
        return store


@dataclass(frozen=True)
class AwsClients(S3Clients):
    """Clients of a server that has DynamoDB too."""

    dynamodb: DynamoDBClient


@dataclass(frozen=True)
class OpenAIServer:
    """The control API of the local OpenAI server."""

    control: httpx.Client

    def order(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """POST to the control API."""
        response = self.control.post(f"/_control/{path}", json=body or {})
        response.raise_for_status()
        return response.json()

    def plant(self, batch_id: str, **planted: Any) -> Any:
        """Put a batch there byte for byte; the answer is its batch object."""
        return self.order("batches", {"id": batch_id, **planted})

    def fault(self, route: str, **fault: Any) -> None:
        """Order a fault of HTTP."""
        self.order("faults", {"route": route, **fault})

    def forget_batch(self, batch_id: str) -> None:
        """Make a batch unknown."""
        self.control.delete(f"/_control/batches/{batch_id}").raise_for_status()

    def delete_file(self, file_id: str) -> None:
        """Make a file unknown."""
        self.control.delete(f"/_control/files/{file_id}").raise_for_status()

    def requests(self, route: str) -> int:
        """How many requests a route got since the test began."""
        counters = self.control.get("/_control/counters").json()
        return int(counters.get(route, {}).get("requests", 0))


@pytest.fixture(scope="session")
def stack(_no_cloud: None) -> Iterator[EmbeddedStack]:
    """Both servers, for the whole session."""
    with EmbeddedStack(embedder="hash") as started:
        yield started


@pytest.fixture(scope="session")
def aws(stack: EmbeddedStack) -> AwsClients:
    """Clients of the stack's S3 and DynamoDB."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stack.environment.items():
            patch.setenv(name, value)
        return AwsClients(s3_client(), s3_client(retries=False), dynamodb_client())


@pytest.fixture(scope="session")
def seaweed(_no_cloud: None) -> Iterator[SeaweedClients]:
    """A second S3 server, of another make; started only when a test asks for it."""
    with Seaweed() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        clients = SeaweedClients(s3_client(), s3_client(retries=False))
        patch.undo()
        yield clients


@pytest.fixture(scope="session")
def openai_clients(stack: EmbeddedStack) -> Iterator[tuple[openai_sdk.OpenAI, httpx.Client]]:
    """The SDK without retries of its own, and the control API."""
    with (
        openai_sdk.OpenAI(
            base_url=stack.environment["OPENAI_BASE_URL"],
            api_key=stack.environment["OPENAI_API_KEY"],
            max_retries=0,
        ) as sdk,
        httpx.Client(base_url=stack.openai_url) as control,
    ):
        yield sdk, control


@pytest.fixture
def openai_server(openai_clients: tuple[openai_sdk.OpenAI, httpx.Client]) -> OpenAIServer:
    """The local OpenAI server, with nothing in it."""
    server = OpenAIServer(openai_clients[1])
    server.order("reset")
    return server


@pytest.fixture
def openai(openai_clients: tuple[openai_sdk.OpenAI, httpx.Client], openai_server: OpenAIServer) -> OpenAIBatches:
    """The product's view of the local OpenAI server."""
    return OpenAIBatches(openai_clients[0])


@pytest.fixture
def store(aws: AwsClients) -> Store:
    """A bucket of this test's own."""
    return aws.own_bucket()


@pytest.fixture(params=list(S3_SERVERS))
def any_store(request: pytest.FixtureRequest) -> Store:
    """A bucket of this test's own, once on each S3 server: for what must hold on every S3."""
    clients: S3Clients = request.getfixturevalue(S3_SERVERS[request.param])
    return clients.own_bucket()


@pytest.fixture
def ledger(aws: AwsClients) -> Ledger:
    """A table of this test's own."""
    table = f"table-{uuid.uuid4().hex}"
    create_table(aws.dynamodb, table)
    return Ledger(table, aws.dynamodb)


@pytest.fixture
def settings(
    stack: EmbeddedStack, store: Store, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Settings:
    """Settings of this test's bucket and table; the environment agrees with them."""
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CHROMADB_BUCKET", store.bucket)
    monkeypatch.setenv("DYNAMODB_TABLE_NAME", ledger.table)
    monkeypatch.chdir(tmp_path)
    return Settings()


@pytest.fixture
def services(settings: Settings) -> Services:
    """All services, connected as in production."""
    return Services(settings)


@pytest.fixture
def poller(store: Store, openai: OpenAIBatches) -> Poller:
    """Polls batches of `lines` into Arrow deltas."""
    return Poller(store, openai, LINES, "arrow")
