"""One scene for the cases that follow one another."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import httpx
import openai
import pytest

from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.faults.scene import Scene
from embedding_assets_tests.faults.scenes import opened

Open = Callable[[str], Scene]


@contextmanager
def _one_at_a_time(
    stack: EmbeddedStack,
    aws: AwsClients,
    control: httpx.Client,
    homes: pytest.TempPathFactory,
    *,
    memory: bool,
) -> Iterator[Open]:
    scenes: dict[str, Scene] = {}
    environment: dict[str, str] = {}
    with ExitStack() as exits:

        def open_scene(name: str) -> Scene:
            if name not in scenes:
                exits.close()
                scenes.clear()
                home = homes.mktemp(name)
                scenes[name] = exits.enter_context(opened(name, stack, aws, control, home, memory=memory))
                environment.clear()
                environment.update(os.environ)
            os.environ.update(environment)  # the case before gave back the environment in which it was opened
            return scenes[name]

        yield open_scene


@pytest.fixture(scope="module")
def in_memory(
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Open]:
    """Opens scenes by name, without servers of S3 and DynamoDB; one stays open until another is asked for."""
    with _one_at_a_time(stack, aws, openai_clients[1], tmp_path_factory, memory=True) as open_scene:
        yield open_scene


@pytest.fixture(scope="module")
def on_servers(
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Open]:
    """The same on the servers."""
    with _one_at_a_time(stack, aws, openai_clients[1], tmp_path_factory, memory=False) as open_scene:
        yield open_scene
