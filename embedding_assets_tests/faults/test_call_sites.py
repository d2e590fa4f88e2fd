"""Every place where the product reaches outside, as runs tell them, each with a fault: nothing is lost or torn."""

from __future__ import annotations

import logging

import pytest

from embedding_assets_tests.faults.call_sites import CallSite
from embedding_assets_tests.faults.elsewhere import forgotten
from embedding_assets_tests.faults.matrix import Matrix
from embedding_assets_tests.faults.repair_scene import RepairScene
from embedding_assets_tests.faults.scene import Scene
from embedding_assets_tests.faults.submit_scene import SubmitScene
from embedding_assets_tests.faults.upkeep_scene import UpkeepScene

LOG = logging.getLogger(__name__)


def assert_covered(matrix: Matrix) -> None:
    """Nothing went wrong, and there is no call site that no fault struck."""
    LOG.warning(matrix.told())
    assert matrix.wrong == []
    assert matrix.uncovered() == set()


@pytest.mark.timeout(1200)
def test_each_call_site_of_an_ingest_survives_a_fault(scene: Scene) -> None:
    """One fault for each site, also for those that only appear after a fault."""
    matrix = Matrix(scene)
    matrix.record()
    matrix.each_once()
    assert_covered(matrix)


@pytest.mark.timeout(1200)
def test_each_call_site_of_a_submission_survives_a_fault(submit_scene: SubmitScene) -> None:
    """Nothing is lost, and nothing is paid for twice."""
    matrix = Matrix(submit_scene)
    matrix.record()
    matrix.each_once()
    assert_covered(matrix)


@pytest.mark.timeout(1200)
def test_each_call_site_of_a_repair_survives_a_fault(
    sites_of_an_ingest: frozenset[CallSite], repair_scene: RepairScene
) -> None:
    """A lost pointer is put back: the sites that an ingest does not have."""
    matrix = Matrix(repair_scene, sites_of_an_ingest)
    matrix.record()
    matrix.each_once()
    assert_covered(matrix)


@pytest.mark.timeout(1200)
def test_each_call_site_of_the_upkeep_survives_a_fault(
    sites_of_an_ingest: frozenset[CallSite],
    sites_of_a_submission: frozenset[CallSite],
    sites_of_a_repair: frozenset[CallSite],
    upkeep_scene: UpkeepScene,
) -> None:
    """Tag, rollback, gc, reprocess: the sites that an ingest does not have. With those, none is forgotten."""
    matrix = Matrix(upkeep_scene, sites_of_an_ingest)
    matrix.record()
    recorded = sites_of_an_ingest | sites_of_a_submission | sites_of_a_repair | matrix.sites.keys()
    assert list(forgotten({site.caller for site in recorded})) == []
    matrix.each_once()
    assert_covered(matrix)


@pytest.mark.long
def test_each_call_site_of_an_ingest_survives_each_fault(scene: Scene) -> None:
    """The whole matrix."""
    matrix = Matrix(scene)
    matrix.record()
    matrix.whole()
    assert_covered(matrix)


@pytest.mark.long
def test_each_call_site_of_a_submission_survives_each_fault(submit_scene: SubmitScene) -> None:
    """The whole matrix of what is submitted."""
    matrix = Matrix(submit_scene)
    matrix.record()
    matrix.whole()
    assert_covered(matrix)


@pytest.mark.long
def test_each_call_site_of_a_repair_survives_each_fault(
    sites_of_an_ingest: frozenset[CallSite], repair_scene: RepairScene
) -> None:
    """The whole matrix of a lost pointer."""
    matrix = Matrix(repair_scene, sites_of_an_ingest)
    matrix.record()
    matrix.whole()
    assert_covered(matrix)


@pytest.mark.long
def test_each_call_site_of_the_upkeep_survives_each_fault(
    sites_of_an_ingest: frozenset[CallSite], upkeep_scene: UpkeepScene
) -> None:
    """The whole matrix of the sites that an ingest does not have."""
    matrix = Matrix(upkeep_scene, sites_of_an_ingest)
    matrix.record()
    matrix.whole()
    assert_covered(matrix)
