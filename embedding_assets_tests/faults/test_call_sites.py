"""Every place where the product reaches outside, as runs tell them, each with a fault: nothing is lost or torn.

One case alone: `pytest "embedding_assets_tests/faults/test_call_sites.py::test_it_survives[ingest-…]"`; the
names of all cases: `pytest --collect-only -q embedding_assets_tests/faults`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from embedding_assets_tests.faults.elsewhere import forgotten
from embedding_assets_tests.faults.listed import Listed, difference, load
from embedding_assets_tests.faults.matrix import Case, each_once, record, strike, whole
from embedding_assets_tests.faults.scene import Scene
from embedding_assets_tests.faults.scenes import SCENES, known_after_a_fault, known_to

LISTED = load()


def cases(of: Callable[[Listed], Iterator[Case]]) -> list[Any]:
    """Every case of every scene, named by both."""
    return [pytest.param(name, case, id=f"{name}-{case}") for name in SCENES for case in of(LISTED[name])]


def survives(name: str, scene: Scene, case: Case) -> None:
    """Nothing is lost or torn, and no call site appears that has no case of its own."""
    seen = strike(scene, case) - known_after_a_fault(name, LISTED)
    assert not seen - LISTED[name].all, difference(seen | LISTED[name].all, LISTED[name].all)


@pytest.mark.parametrize("name", SCENES)
def test_the_list_has_the_call_sites_of_a_run(name: str, in_memory: Callable[[str], Scene]) -> None:
    """Those of an undisturbed run; each case looks for those that only appear after a fault."""
    seen = record(in_memory(name)).keys() - known_to(name, LISTED)
    told = difference(seen, LISTED[name].sites)
    assert not told, told


def test_no_function_that_reaches_outside_is_forgotten() -> None:
    """Each is in a scene, or tested elsewhere by name."""
    callers = {site.caller for scene in LISTED.values() for site in scene.all}
    assert list(forgotten(callers)) == []


@pytest.mark.parametrize(("name", "case"), cases(each_once))
def test_it_survives(name: str, case: Case, in_memory: Callable[[str], Scene]) -> None:
    """One fault for each site, also for those that only appear after a fault."""
    survives(name, in_memory(name), case)


@pytest.mark.long
@pytest.mark.parametrize(("name", "case"), cases(whole))
def test_it_survives_each_fault(name: str, case: Case, on_servers: Callable[[str], Scene]) -> None:
    """The whole matrix, on the servers."""
    survives(name, on_servers(name), case)
