"""A gc that dies after any deletion, or is paused past its lease: nothing published ever loses a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedding_assets.bucket.keys import changes_key, version_prefix
from embedding_assets.databases import LINES
from embedding_assets.errors import DamagedError, InputError, LockError, PreconditionError
from embedding_assets.ledger.locks import MergeLock
from embedding_assets.rows.snapshot_directory import MANIFEST
from embedding_assets.upkeep.tagging import set_tag
from embedding_assets_tests.deltas import at, records
from embedding_assets_tests.executions.conftest import Workbench
from embedding_assets_tests.upkeep.sweeping import (
    Hooked,
    Killed,
    check_whole,
    collect,
    keys_of,
    rollback,
)

SHORT_LEASE = 0.3


@pytest.fixture
def hooked(bench: Workbench) -> Hooked:
    """The bucket of this test, watched."""
    return Hooked(bench.store)


def test_one_that_dies_is_finished_by_the_next(
    bench: Workbench, hooked: Hooked, planned: list[str], tmp_path: Path
) -> None:
    """Each dies after one deletion: what goes is told in the pointer, nobody builds on it, and it all ends."""
    wanted = bench.keys() - keys_of(collect(bench, dry_run=True))
    told = tuple(sorted(planned[:3]))

    def die(number: int) -> None:
        if number == 1:
            raise Killed

    hooked.on_delete = die
    died = 0
    while True:
        hooked.deletions = 0
        try:
            collect(bench, store=hooked)
        except Killed:
            died += 1
        else:
            break
        assert bench.pointer().manifest.sweeping == told
        assert bench.keys() > wanted
        version = planned[died % 3]
        with pytest.raises(InputError, match="swept"):
            rollback(bench, version)
        with pytest.raises(InputError, match="swept"):
            set_tag(bench.publisher(), "good", version)
    assert died >= 17
    assert bench.pointer().manifest.sweeping == ()
    assert bench.keys() == wanted
    check_whole(bench, tmp_path / "kept", planned[3:])
    with pytest.raises(DamagedError):
        rollback(bench, planned[0])


def test_a_merge_in_between_carries_on_what_is_being_swept(
    bench: Workbench, hooked: Hooked, planned: list[str]
) -> None:
    """The pointer is another then; what it says of the sweep is not lost."""

    def die(number: int) -> None:
        raise Killed

    hooked.on_delete = die
    with pytest.raises(Killed):
        collect(bench, store=hooked)
    bench.merge([bench.batch("fifth", records("d", 2, 40), at(4))], 5)
    assert bench.pointer().manifest.sweeping == tuple(sorted(planned[:3]))
    made = rollback(bench, planned[3])
    assert made.sweeping == tuple(sorted(planned[:3]))
    collect(bench)
    assert bench.pointer().manifest.sweeping == ()


@pytest.fixture
def _pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody renews a lease but by `check`: as in a process that is stopped, the heart does not beat."""
    monkeypatch.setattr(MergeLock, "_beat", lambda self: None)


@pytest.mark.usefixtures("_pauses")
@pytest.mark.parametrize("deletion", [0, 2])
def test_a_rollback_while_a_gc_is_paused_before_a_deletion(
    bench: Workbench, hooked: Hooked, planned: list[str], deletion: int, tmp_path: Path
) -> None:
    """It takes over, sees what is being swept, and refuses that; another version it publishes stays whole."""
    published: list[str] = []

    def meanwhile(number: int) -> None:
        if number == deletion and not published:
            for version in planned[:3]:
                with pytest.raises(InputError, match="swept"):
                    rollback(bench, version)
            result = bench.merge([bench.batch("fifth", records("d", 1, 40), at(4))], 5)
            published.append(result.snapshot_version or "")
            published.append(rollback(bench, planned[3]).version)

    hooked.on_delete = meanwhile
    with pytest.raises((LockError, PreconditionError)):
        collect(bench, store=hooked, lease=SHORT_LEASE)
    assert bench.pointer().manifest.version == published[1]
    check_whole(bench, tmp_path / "published", [*published, planned[3]])
    collect(bench, 9)
    assert bench.pointer().manifest.sweeping == ()
    check_whole(bench, tmp_path / "again", [*published, planned[3]])


@pytest.mark.usefixtures("_pauses")
def test_a_rollback_while_a_gc_is_paused_before_it_tells(
    bench: Workbench, hooked: Hooked, planned: list[str], tmp_path: Path
) -> None:
    """It has planned, and told nobody: the old version is published, and the gc finds another pointer."""
    before = bench.keys()
    published: list[str] = []

    def meanwhile() -> None:
        if not published:
            published.append(rollback(bench, planned[0]).version)

    hooked.on_replace = meanwhile
    with pytest.raises((LockError, PreconditionError)):
        collect(bench, store=hooked, lease=SHORT_LEASE)
    assert bench.keys() - before == {
        f"{version_prefix(LINES, published[0])}{MANIFEST}",
        changes_key(LINES, published[0]),
    }
    assert before <= bench.keys()
    assert bench.pointer().manifest.version == published[0]
    check_whole(bench, tmp_path / "published", published)


@pytest.mark.usefixtures("_pauses")
def test_a_rollback_to_a_version_without_files_of_its_own(
    bench: Workbench, hooked: Hooked, planned: list[str]
) -> None:
    """An earlier rollback names the files of an older version: if those go, it is being swept as well."""
    earlier = rollback(bench, planned[0]).version
    rollback(bench, planned[3])
    refused: list[str] = []

    def meanwhile(number: int) -> None:
        if not refused:
            with pytest.raises(InputError, match="swept"):
                rollback(bench, earlier)
            refused.append(earlier)

    hooked.on_delete = meanwhile
    with pytest.raises((LockError, PreconditionError)):
        collect(bench, store=hooked, lease=SHORT_LEASE)
    assert refused
    assert earlier in bench.pointer().manifest.sweeping
