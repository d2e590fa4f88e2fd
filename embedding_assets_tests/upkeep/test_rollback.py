"""Rollback: the old content as a new version; what is out again is told and comes back only by reprocess."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from embedding_assets.databases import LINES
from embedding_assets.errors import DamagedVersionError, InputError, WithdrawnError
from embedding_assets.ledger.batch_summary import Status
from embedding_assets.upkeep.rollback import Rollback
from embedding_assets.versions.manifest import VersionManifest, chain
from embedding_assets.versions.mark import mark_published
from embedding_assets.versions.publish import amend
from embedding_assets_tests.deltas import at, records
from embedding_assets_tests.executions.conftest import Workbench, execution
from embedding_assets_tests.reference import reference_digest


def rollback(bench: Workbench, to: str | None = None) -> VersionManifest:
    return Rollback(bench.publisher()).to(to, execution(99))


def test_the_old_content_is_a_new_version(bench: Workbench, three: list[str]) -> None:
    """Same digest, same files, a greater epoch, the published one as its parent: history is only added to."""
    old = next(one for one in chain(bench.store, LINES, bench.pointer().manifest) if one.version == three[0])
    made = rollback(bench, three[0])
    assert made == bench.pointer().manifest
    assert (made.content_digest, made.files, made.total_embeddings) == (old.content_digest, old.files, 3)
    assert (made.parent, made.rolled_back_to, made.batches) == (three[2], three[0], ())
    assert made.epoch > 3
    assert reference_digest(bench.published().values()) == reference_digest(records("a", 3))
    versions = [one.version for one in chain(bench.store, LINES, made)]
    assert versions == [made.version, *three[::-1]]


def test_what_is_out_again_is_withdrawn_and_stays_marked(bench: Workbench, three: list[str]) -> None:
    """The batches of the versions that were taken back; their rows are as they were."""
    made = rollback(bench, three[0])
    assert made.withdrawn == ("second", "third")
    assert mark_published(bench.store, bench.ledger, LINES) == []
    assert {bench.ledger.get(one).status for one in ("first", "second", "third")} == {Status.COMPLETED}


def test_by_default_the_version_before(bench: Workbench, three: list[str]) -> None:
    """Once, and again: each goes one step further back in the content's history, then there is none."""
    assert rollback(bench).rolled_back_to == three[1]
    assert rollback(bench).rolled_back_to == three[0]
    with pytest.raises(InputError, match="none before"):
        rollback(bench)


@pytest.mark.parametrize(
    ("changed", "named"), [({"space": "ip"}, "distance"), ({"collection": "other"}, "collection")]
)
def test_a_version_that_is_built_otherwise_is_refused(
    bench: Workbench, three: list[str], changed: dict[str, str], named: str
) -> None:
    """After it nothing could be merged: as after the change of the configuration itself."""
    before = bench.pointer()
    configured = LINES.model_copy(update=changed)
    with pytest.raises(InputError, match=named):
        Rollback(replace(bench.publisher(), database=configured)).to(three[0], execution(99))
    assert bench.pointer() == before


def test_forward_again(bench: Workbench, three: list[str]) -> None:
    """Rolling back to the version that was taken back: nothing is withdrawn any more."""
    rollback(bench, three[0])
    made = rollback(bench, three[2])
    assert made.withdrawn == ()
    assert made.total_embeddings == 7
    assert rollback(bench, three[1]).withdrawn == ("third",)


def test_the_next_merge_builds_on_what_the_pointer_says(bench: Workbench, three: list[str]) -> None:
    """What was rolled back does not come along, and is still withdrawn in the next version."""
    rollback(bench, three[0])
    result = bench.merge([bench.batch("fourth", records("d", 2, 30), at(3))], 4)
    assert (result.added, result.total_embeddings) == (2, 5)
    assert bench.published().keys() == {"a0", "a1", "a2", "d0", "d1"}
    assert bench.pointer().manifest.withdrawn == ("second", "third")


def test_reprocess_brings_a_batch_back(bench: Workbench, three: list[str]) -> None:
    """With a greater generation, and then it is withdrawn no more."""
    rollback(bench, three[0])
    reopened = bench.ledger.reopen(bench.ledger.get("second"))
    again = bench.batch_again("second", records("b", 2, 10), at(1), generation=reopened.generation)
    bench.merge([again], 4)
    assert bench.pointer().manifest.withdrawn == ("third",)
    assert bench.published().keys() == {"a0", "a1", "a2", "b0", "b1"}


def test_what_was_polled_before_the_rollback_does_not_come_back_by_itself(
    bench: Workbench, three: list[str]
) -> None:
    """Another execution of the same batch that was on its way: it fails, nothing is published."""
    late = bench.batch_again("second", records("b", 2, 10), at(1))
    made = rollback(bench, three[0])
    with pytest.raises(WithdrawnError, match="second"):
        bench.merge([late], 5)
    assert bench.pointer().manifest == made


def test_running_the_rolled_back_execution_again_changes_nothing(bench: Workbench, three: list[str]) -> None:
    """The chain holds it already: that version is the answer, as contradictory as it may look."""
    result = bench.batch_again("second", records("b", 2, 10), at(1))
    made = rollback(bench, three[0])
    assert bench.merge([result], 2).snapshot_version == three[1]
    assert bench.pointer().manifest == made


def test_a_batch_published_again_with_the_same_delta_is_not_withdrawn(bench: Workbench, three: list[str]) -> None:
    """It was reprocessed without a change: what is published then is what it delivered."""
    reopened = bench.ledger.reopen(bench.ledger.get("first"))
    first = next(one for one in chain(bench.store, LINES, bench.pointer().manifest) if one.version == three[0])
    again = bench.batch_again("first", records("a", 3), at(0), generation=reopened.generation)
    same = again.model_copy(update={"delta_key": first.batches[0].delta_key})
    bench.merge([same], 4)
    assert rollback(bench, three[1]).withdrawn == ("third",)


@pytest.mark.parametrize(
    ("to", "reason"),
    [("7-0123456789ab", "never published"), ("nightly", "never published")],
    ids=["version", "tag"],
)
def test_an_unknown_version_is_refused(bench: Workbench, three: list[str], to: str, reason: str) -> None:
    """One line, and nothing happens."""
    before = bench.pointer()
    with pytest.raises(InputError, match=reason):
        rollback(bench, to)
    assert bench.pointer() == before


def test_the_published_version_is_no_target(bench: Workbench, three: list[str]) -> None:
    """There is nothing to roll back."""
    with pytest.raises(InputError, match="is the published one"):
        rollback(bench, three[2])


def test_without_a_version_there_is_nothing_to_roll_back(bench: Workbench) -> None:
    """Nothing was ever published."""
    with pytest.raises(InputError, match="no published version"):
        rollback(bench)


def test_a_damaged_version_is_not_published_again(bench: Workbench, three: list[str]) -> None:
    """Whoever rolls back needs a sound version now: it is checked before, and the file is named."""
    before = bench.pointer()
    broken = next(
        file
        for file in next(
            one for one in chain(bench.store, LINES, before.manifest) if one.version == three[0]
        ).files
        if file.path == "chroma.sqlite3"
    )
    data = bytearray(bench.store.get(broken.key))
    data[len(data) // 2] ^= 1
    bench.store.put(broken.key, bytes(data))
    with pytest.raises(DamagedVersionError, match=re.escape("chroma.sqlite3")):
        rollback(bench, three[0])
    assert bench.pointer() == before


def test_a_version_that_is_being_swept_is_no_target(bench: Workbench, three: list[str]) -> None:
    """A gc wrote into the pointer what it is about to delete: whether it still lives or not."""
    amend(bench.store, LINES, bench.pointer(), 9, (three[0],))
    with pytest.raises(InputError, match="swept"):
        rollback(bench, three[0])
