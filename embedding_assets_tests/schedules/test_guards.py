"""No guard is there for nothing: without it, its story goes wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from embedding_assets.errors import EmbeddingAssetsError
from embedding_assets_tests.faults.process import processes
from embedding_assets_tests.schedules.guards import GUARDS, Story
from embedding_assets_tests.schedules.without import Guard, without
from embedding_assets_tests.schedules.yard import Yard

NAMES = [guard.name for guard, _ in GUARDS]


@pytest.fixture
def yard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    """An empty bucket and table."""
    made = Yard()
    made.patch(monkeypatch)
    with processes():
        yield made


@pytest.mark.parametrize("story", [story for _, story in GUARDS], ids=NAMES)
def test_with_the_guard_the_story_ends_well(yard: Yard, story: Story) -> None:
    """The product as it is."""
    story(yard)


@pytest.mark.parametrize(("guard", "story"), GUARDS, ids=NAMES)
def test_without_the_guard_the_story_goes_wrong(yard: Yard, guard: Guard, story: Story) -> None:
    """Then what it guards against happens: an assertion, an error that should not be, or one that never came."""
    with without(guard), pytest.raises((AssertionError, pytest.fail.Exception, EmbeddingAssetsError)):
        story(yard)


def test_names_are_used_once() -> None:
    """Each guard has a name of its own."""
    assert len(set(NAMES)) == len(NAMES)
