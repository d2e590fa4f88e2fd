"""Guards: what does not fit what is published is set aside before anything is merged."""

from __future__ import annotations

from typing import Any

import pytest

from embedding_assets.databases import LINES
from embedding_assets.executions.guard import mismatches
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.versions.manifest import VersionManifest
from embedding_assets_tests.deltas import MODEL, poll_result

LARGE = "text-embedding-3-large"


def result(batch_id: str, count: int = 10, **told: Any) -> PollResult:
    return poll_result(batch_id, count, f"k/{batch_id}/", **told)


def version(**told: Any) -> VersionManifest:
    values: dict[str, Any] = {
        "version": "1-a",
        "database": "lines",
        "collection": "lines",
        "execution_id": "20260102T120000Z-00000000",
        "parent": None,
        "epoch": 1,
        "commit_id": "c",
        "created_at": "2026-01-02T12:00:00Z",
        "model": MODEL,
        "dimensions": 8,
        "space": "l2",
        "chroma_version": "1.5.9",
        "total_embeddings": 0,
        "content_digest": "0" * 64,
        "files": (),
        "batches": (),
    }
    return VersionManifest(**{**values, **told})


def test_what_fits_passes() -> None:
    """Also a batch whose model nobody told, and one without embeddings of whatever dimensions."""
    results = [result("a"), result("b", model=None), poll_result("c", 0, None, dimensions=99)]
    assert mismatches(results, LINES, version()) == {}
    assert mismatches(results, LINES, None) == {}
    assert mismatches([], LINES, None) == {}


@pytest.mark.parametrize(("told", "named"), [({"dimensions": 16}, "16"), ({"model": LARGE}, LARGE)])
def test_what_does_not_fit_the_published_version_is_named(told: dict[str, Any], named: str) -> None:
    """However many of them there are: the published version decides."""
    unfit = mismatches([result("fits"), result("big", 9999, **told)], LINES, version())
    assert unfit.keys() == {"big"}
    assert named in unfit["big"]
    assert "version 1-a" in unfit["big"]


@pytest.mark.parametrize("told", [{"dimensions": 16}, {"model": LARGE}])
def test_before_the_first_version_the_most_embeddings_decide(told: dict[str, Any]) -> None:
    """Embeddings count, not batches."""
    results = [result("many", 100), result("few", 1, **told), result("few too", 2, **told)]
    assert mismatches(results, LINES, None).keys() == {"few", "few too"}


def test_two_models_never_pass_together() -> None:
    """Also where most embeddings do not tell theirs: vectors of two models cannot be compared."""
    results = [result("untold", 100, model=None), result("small", 5), result("large", 4, model=LARGE)]
    assert mismatches(results, LINES, None).keys() == {"large"}


def test_a_changed_distance_lets_nothing_through() -> None:
    """A database whose configured distance is no longer that of its version."""
    unfit = mismatches([result("a"), result("b")], LINES, version(space="ip"))
    assert unfit.keys() == {"a", "b"}
    assert "ip" in unfit["a"]


def test_a_changed_collection_lets_nothing_through() -> None:
    """Its version's directory has the other one: a second beside it would hold the changes alone."""
    unfit = mismatches([result("a"), result("b")], LINES, version(collection="other"))
    assert unfit.keys() == {"a", "b"}
    assert "collection" in unfit["a"]
    assert "rebuild lines" in unfit["a"]
