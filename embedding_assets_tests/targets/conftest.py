"""One Chroma server, and worlds with a target on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.world import World, open_world
from embedding_assets_tests.targets.server import ChromaServer


@pytest.fixture(scope="session")
def chroma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChromaServer]:
    """A server that stays up."""
    server = ChromaServer(tmp_path_factory.mktemp("chroma-server"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def url(chroma: ChromaServer) -> str:
    """The address of this test's target."""
    return chroma.url(chroma.new_database())


@pytest.fixture
def world(
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    tmp_path: Path,
    url: str,
) -> Iterator[World]:
    """A world whose versions go to the target `far` too."""
    settings = {"EMBEDDING_ASSETS_TARGETS": f"far={url}", "EMBEDDING_ASSETS_LOCK_LEASE_SECONDS": "2"}
    with open_world(stack, aws, openai_clients[1], tmp_path, **settings) as opened:
        yield opened
