"""The scenes for faults by name, opened in memory or on the servers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.world import open_world
from embedding_assets_tests.faults.call_sites import CallSite
from embedding_assets_tests.faults.cancel_scene import CancelScene
from embedding_assets_tests.faults.complete_scene import CompleteScene
from embedding_assets_tests.faults.import_scene import ImportScene
from embedding_assets_tests.faults.listed import Listed
from embedding_assets_tests.faults.memory_aws import aws_in_memory
from embedding_assets_tests.faults.process import processes
from embedding_assets_tests.faults.quick_instances import quick_instances
from embedding_assets_tests.faults.repair_scene import RepairScene
from embedding_assets_tests.faults.scene import ENVIRONMENT, Scene, fast_clients
from embedding_assets_tests.faults.submit_scene import SubmitScene
from embedding_assets_tests.faults.taps import tapped
from embedding_assets_tests.faults.unwaited_time import nobody_waits
from embedding_assets_tests.faults.upkeep_scene import UpkeepScene
from embedding_assets_tests.schedules.plain_index import instead_of_chroma

SCENES: dict[str, type[Scene]] = {
    "ingest": Scene,
    "submission": SubmitScene,
    "repair": RepairScene,
    "upkeep": UpkeepScene,
    "import": ImportScene,
    "cancel": CancelScene,
    "complete": CompleteScene,
}

LEFT_TO = {"repair": "ingest", "upkeep": "ingest", "cancel": "ingest", "complete": "ingest"}
"""These ingest too: call sites of an ingest are left to that scene."""
RECOVERED_BY = {"import": "ingest"}
"""Only after a fault an ingest follows: what it comes by then is left to that scene."""


def known_to(name: str, listed: Mapping[str, Listed]) -> frozenset[CallSite]:
    """Call sites that a scene leaves to another."""
    return listed[LEFT_TO[name]].all if name in LEFT_TO else frozenset()


def known_after_a_fault(name: str, listed: Mapping[str, Listed]) -> frozenset[CallSite]:
    """Call sites that runs which recover leave to another scene."""
    return listed[RECOVERED_BY[name]].all if name in RECOVERED_BY else known_to(name, listed)


@contextmanager
def opened(
    name: str, stack: EmbeddedStack, aws: AwsClients, control: httpx.Client, home: Path, *, memory: bool
) -> Iterator[Scene]:
    """A scene that is prepared once and restored before each case.

    In memory, S3 and DynamoDB are no servers, versions are plain files instead of Chroma's, and nobody waits for a
    lease or before a retry.
    """
    shared = home / "shared"
    shared.mkdir(parents=True)
    with ExitStack() as opened:
        if memory:
            opened.enter_context(aws_in_memory())
            opened.enter_context(nobody_waits())
            instead_of_chroma(opened.enter_context(pytest.MonkeyPatch.context()))
        opened.enter_context(quick_instances())
        world = opened.enter_context(open_world(stack, aws, control, home, CHROMA_ROOT=str(shared), **ENVIRONMENT))
        scene = SCENES[name](world)
        opened.enter_context(fast_clients(world))
        opened.enter_context(processes())
        opened.enter_context(tapped(scene.seen))
        scene.prepare()
        yield scene
