"""Worlds for these tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.world import World, open_world


@pytest.fixture
def world(
    stack: EmbeddedStack, aws: AwsClients, openai_clients: tuple[openai.OpenAI, httpx.Client], tmp_path: Path
) -> Iterator[World]:
    """A world of this test's own."""
    with open_world(stack, aws, openai_clients[1], tmp_path) as opened:
        yield opened
