"""One scene for all cases of a module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import httpx
import openai
import pytest

from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.faults.call_sites import CallSite
from embedding_assets_tests.faults.matrix import Matrix
from embedding_assets_tests.faults.process import processes
from embedding_assets_tests.faults.repair_scene import RepairScene
from embedding_assets_tests.faults.scene import ENVIRONMENT, Scene, fast_clients
from embedding_assets_tests.faults.submit_scene import SubmitScene
from embedding_assets_tests.faults.taps import tapped
from embedding_assets_tests.faults.upkeep_scene import UpkeepScene
from embedding_assets_tests.orchestration.world import open_world

Made = TypeVar("Made", bound=Scene)


@contextmanager
def opened(
    kind: type[Made],
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    home: Path,
) -> Iterator[Made]:
    """A scene that is prepared once and restored before each case."""
    shared = home / "shared"
    shared.mkdir()
    with open_world(stack, aws, openai_clients[1], home, CHROMA_ROOT=str(shared), **ENVIRONMENT) as world:
        made = kind(world)
        with fast_clients(world), processes(), tapped(made.seen):
            made.prepare()
            yield made


@pytest.fixture
def scene(
    stack: EmbeddedStack, aws: AwsClients, openai_clients: tuple[openai.OpenAI, httpx.Client], tmp_path: Path
) -> Iterator[Scene]:
    """An ingest."""
    with opened(Scene, stack, aws, openai_clients, tmp_path) as made:
        yield made


@pytest.fixture
def upkeep_scene(
    stack: EmbeddedStack, aws: AwsClients, openai_clients: tuple[openai.OpenAI, httpx.Client], tmp_path: Path
) -> Iterator[UpkeepScene]:
    """What is done to versions."""
    with opened(UpkeepScene, stack, aws, openai_clients, tmp_path) as made:
        yield made


@pytest.fixture
def repair_scene(
    stack: EmbeddedStack, aws: AwsClients, openai_clients: tuple[openai.OpenAI, httpx.Client], tmp_path: Path
) -> Iterator[RepairScene]:
    """A lost pointer."""
    with opened(RepairScene, stack, aws, openai_clients, tmp_path) as made:
        yield made


@pytest.fixture
def submit_scene(
    stack: EmbeddedStack, aws: AwsClients, openai_clients: tuple[openai.OpenAI, httpx.Client], tmp_path: Path
) -> Iterator[SubmitScene]:
    """What is submitted."""
    with opened(SubmitScene, stack, aws, openai_clients, tmp_path) as made:
        yield made


@pytest.fixture
def sites_of_an_ingest(
    stack: EmbeddedStack, aws: AwsClients, openai_clients: tuple[openai.OpenAI, httpx.Client], tmp_path: Path
) -> frozenset[CallSite]:
    """The call sites that the ingest's own matrix covers."""
    return _recorded(Scene, stack, aws, openai_clients, tmp_path / "ingest")


@pytest.fixture
def sites_of_a_repair(
    stack: EmbeddedStack, aws: AwsClients, openai_clients: tuple[openai.OpenAI, httpx.Client], tmp_path: Path
) -> frozenset[CallSite]:
    """The call sites that the repair's own matrix covers."""
    return _recorded(RepairScene, stack, aws, openai_clients, tmp_path / "repair")


@pytest.fixture
def sites_of_a_submission(
    stack: EmbeddedStack, aws: AwsClients, openai_clients: tuple[openai.OpenAI, httpx.Client], tmp_path: Path
) -> frozenset[CallSite]:
    """The call sites that the submission's own matrix covers."""
    return _recorded(SubmitScene, stack, aws, openai_clients, tmp_path / "submission")


def _recorded(
    kind: type[Scene],
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    home: Path,
) -> frozenset[CallSite]:
    home.mkdir()
    with opened(kind, stack, aws, openai_clients, home) as made:
        matrix = Matrix(made)
        matrix.record()
        return frozenset(matrix.sites)
