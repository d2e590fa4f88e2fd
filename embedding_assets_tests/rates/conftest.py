"""One proxy, and the backlog behind it, for all seeds of a module."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import openai
import pytest

from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.world import open_world
from embedding_assets_tests.rates.proxy import Proxy
from embedding_assets_tests.rates.servers import Servers
from embedding_assets_tests.rates.storm import ENVIRONMENT, in_a_hurry


@pytest.fixture(scope="module")
def proxy(stack: EmbeddedStack) -> Iterator[Proxy]:
    """Between the SDKs and the servers."""
    with Proxy(stack.aws_url, stack.openai_url) as opened:
        yield opened


@pytest.fixture(scope="module")
def servers(
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    proxy: Proxy,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Servers]:
    """The servers with the backlog on them; the tests themselves reach them past the proxy."""
    home = tmp_path_factory.mktemp("rates")
    environment = {**proxy.environment, **ENVIRONMENT}
    with in_a_hurry(), open_world(stack, aws, openai_clients[1], home, **environment) as world:
        made = Servers(world)
        made.plant()
        proxy.names = made.names
        yield made
