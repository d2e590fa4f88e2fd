"""A bucket with published versions, and `serve` on it, over real HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn

from embedding_assets.databases import LINES, WORDS
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.serving.http import http_app
from embedding_assets.serving.open_versions import OpenVersions
from embedding_assets.serving.search_service import SearchService
from embedding_assets.snapshot import Snapshot
from embedding_assets.versions.reader import find_version
from embedding_assets_tests.deltas import at, records
from embedding_assets_tests.executions.conftest import Workbench
from embedding_assets_tests.executions.conftest import bench as bench

REFRESH_SECONDS = 0.05


@dataclass
class Served:
    """A server on 127.0.0.1, and what it said."""

    client: httpx.Client
    messages: list[str]

    def until_ready(self) -> None:
        """Wait until every database can be searched."""
        deadline = time.monotonic() + 30
        while self.client.get("/healthz").status_code != 200:
            assert time.monotonic() < deadline, self.messages
            time.sleep(0.02)

    def until(self, version: str) -> None:
        """Wait until this version answers."""
        deadline = time.monotonic() + 30
        while self.client.get("/v1/lines/search", params={"q": "text"}).json()["version"] != version:
            assert time.monotonic() < deadline, self.messages
            time.sleep(0.02)


@contextmanager
def running(bench: Workbench) -> Iterator[Served]:
    """The application on a real server, in a thread."""
    openai = OpenAIBatches()
    by_name = {database.name: database for database in (LINES, WORDS)}
    messages: list[str] = []

    def versions(name: str) -> OpenVersions:
        return OpenVersions(lambda version: Snapshot(bench.store, by_name[name], None, version))

    service = SearchService(
        {name: versions(name) for name in by_name},
        lambda name: find_version(bench.store, by_name[name]),
        lambda text, model, dimensions: tuple(openai.embed([text], model, dimensions)[0]),
        messages.append,
    )
    config = uvicorn.Config(http_app(service, "127.0.0.1"), port=0, log_level="warning", ws="none")
    server = uvicorn.Server(config)
    threads = [
        threading.Thread(target=server.run, name="serve", daemon=True),
        threading.Thread(target=service.follow, args=(REFRESH_SECONDS,), name="follow", daemon=True),
    ]
    for thread in threads:
        thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield Served(client, messages)
    finally:
        server.should_exit = True
        service.close()
        for thread in threads:
            thread.join()


@pytest.fixture
def publish(bench: Workbench) -> Callable[[int], str]:
    """Publishes a version more of `lines`, with five records more; gives its name."""

    def one_more(number: int) -> str:
        bench.merge([bench.batch(f"b{number}", records(f"r{number}-", 5, 10 * number), at(number))], number)
        return bench.pointer().manifest.version

    return one_more


@pytest.fixture
def served(bench: Workbench, settings: object, tmp_path: Path) -> Iterator[Served]:
    """`serve` on the bucket of this test."""
    with running(bench) as server:
        yield server
