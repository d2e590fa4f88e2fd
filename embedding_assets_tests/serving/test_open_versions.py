"""Versions that are open for many requests: a new one takes over, and none closes while it is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from embedding_assets.errors import DamagedError
from embedding_assets.serving.open_versions import OTHERS, OpenVersions
from embedding_assets.snapshot import Snapshot


@dataclass
class FakeSnapshot:
    """What the versions need of a snapshot."""

    version: str
    closed: bool = False

    def close(self) -> None:
        self.closed = True


@dataclass
class Published:
    """What is published by now, and everything that was opened."""

    version: str = "1"
    damaged: bool = False
    opened: list[FakeSnapshot] = field(default_factory=list)

    def open(self, version: str | None) -> Snapshot:
        if self.damaged:
            raise DamagedError("not what its manifest says")
        self.opened.append(FakeSnapshot(version or self.version))
        return cast(Snapshot, self.opened[-1])


@pytest.fixture
def published() -> Published:
    """Version 1."""
    return Published()


@pytest.fixture
def versions(published: Published) -> OpenVersions:
    """The versions of the database."""
    return OpenVersions(published.open)


def test_a_version_that_is_used_stays_open_until_its_last_request_ends(
    published: Published, versions: OpenVersions
) -> None:
    """The new one answers new requests meanwhile."""
    with versions.borrowed() as before, versions.borrowed():
        published.version = "2"
        versions.take_up()
        with versions.borrowed() as after:
            assert (before.snapshot.version, after.snapshot.version) == ("1", "2")
        assert [one.closed for one in published.opened] == [False, False]
    assert [one.closed for one in published.opened] == [True, False]


def test_what_cannot_be_opened_takes_nothing_over(published: Published, versions: OpenVersions) -> None:
    """The version before goes on answering."""
    versions.take_up()
    published.damaged = True
    with pytest.raises(DamagedError):
        versions.take_up()
    assert versions.published == "1"


def test_named_versions_are_opened_once_and_the_oldest_closed(
    published: Published, versions: OpenVersions
) -> None:
    """The published version is not opened a second time by its name."""
    versions.take_up()
    names = [f"old-{number}" for number in range(OTHERS + 1)]
    for name in ["1", *names, names[-1]]:
        with versions.borrowed(name) as taken:
            assert taken.snapshot.version == name
    assert [one.version for one in published.opened] == ["1", *names]
    assert [one.version for one in published.opened if one.closed] == names[:1]


def test_at_the_end_all_are_closed(published: Published, versions: OpenVersions) -> None:
    """One that is used, when it is given back."""
    use: Callable[..., Any] = versions.borrowed
    with use("other"):
        versions.take_up()
        versions.close()
        assert [one.closed for one in published.opened] == [False, True]
    assert all(one.closed for one in published.opened)
