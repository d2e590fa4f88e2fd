"""A world of which the bucket and the table can be put back."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import openai
import pytest

from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.checks.examined import Examined
from embedding_assets_tests.dagster_defs.runs.world import error_line, open_world, texts


@pytest.fixture(scope="module")
def _ingested(
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Examined]:
    """Two executions: in the first every request has an embedding, in the second some have none."""
    with open_world(stack, aws, openai_clients[1], tmp_path_factory.mktemp("home")) as world:
        world.plant("good", texts("good-", 3), row={"request_count": 3})
        first = world.ingest()
        some = texts("some-", 3, seed=10)
        lines = "\n".join([error_line(some[1]), error_line(some[2], "invalid_request", 400)])
        world.plant("some", some, answered=some[:1], errors=lines)
        world.plant("partly", texts("part-", 3, seed=20), status="expired", answered=texts("part-", 1, seed=20))
        world.plant("nothing", texts("no-", 2), status="failed", answered=[])
        second = world.ingest()
        assert first.failures == second.failures == []
        yield Examined(world, first.executions[0], second.executions[0])


@pytest.fixture
def examined(_ingested: Examined) -> Iterator[Examined]:
    """The world, put back after the test."""
    with _ingested.put_back():
        yield _ingested
