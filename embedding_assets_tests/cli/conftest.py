"""Worlds for these tests, with secrets in their environment."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import openai
import pytest

from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.cli.commands import SECRETS
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.world import World, open_world


@pytest.fixture
def world(
    stack: EmbeddedStack, aws: AwsClients, openai_clients: tuple[openai.OpenAI, httpx.Client], tmp_path: Path
) -> Iterator[World]:
    """A world of this test's own."""
    with open_world(stack, aws, openai_clients[1], tmp_path / "home", **SECRETS) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared(
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    """One world for all tests of a module that do not get into each other's way."""
    with open_world(stack, aws, openai_clients[1], tmp_path_factory.mktemp("home"), **SECRETS) as opened:
        yield opened


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    """Writes lines to a file to submit."""

    def write(*lines: object, name: str = "records.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
        return path

    return write
