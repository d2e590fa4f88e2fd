"""What gc may delete, as a pure function of the chain, the tags, the listing and the time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from embedding_assets.bucket.keys import delta_prefix, versions_prefix
from embedding_assets.databases import LINES
from embedding_assets.rows.snapshot_directory import MANIFEST
from embedding_assets.upkeep.garbage import (
    by_delta,
    by_execution,
    kept_versions,
    not_whole_without,
    old_versions,
    published_deltas,
    unpublished,
)
from embedding_assets_tests.chains import GRAPH, batch, hours, key, name, rolled_back, stored, version
from embedding_assets_tests.deltas import NOON, at

V1 = version(1, None, [key(1), key(1, GRAPH)], at(0), [batch("a")])
V2 = version(2, V1, [key(2), key(1, GRAPH)], at(1), [batch("b")])
V3 = version(3, V2, [key(3), key(3, GRAPH)], at(2), [batch("c")])
CHAIN = [V3, V2, V1]
"""Three versions an hour apart; the second names the graph of the first."""

LISTED = [stored(one, at(0)) for one in sorted({file.key for entry in CHAIN for file in entry.files})]
LISTED += [stored(key(number, MANIFEST), at(0)) for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("tagged", "retention", "min_age", "wanted"),
    [
        ([], 1, 0, {3}),
        ([], 2, 0, {3, 2}),
        ([], 9, 0, {3, 2, 1}),
        ([1], 1, 0, {3, 1}),
        ([], 1, 1.5, {3, 2}),
        ([], 1, 1.0, {3}),
        ([], 1, 2.5, {3, 2, 1}),
        ([8], 1, 0, {3}),
    ],
)
def test_kept_versions(tagged: list[int], retention: int, min_age: float, wanted: set[int]) -> None:
    """The newest, the tagged, and those that were current a moment ago: seen an hour after the third."""
    tags = {name(number) for number in tagged}
    kept = kept_versions(CHAIN, tags, retention, hours(min_age), at(3))
    assert kept == {name(number) for number in wanted}


def test_what_an_earlier_gc_began_to_sweep_is_not_kept() -> None:
    """Neither by its place, nor by a tag, nor by its age."""
    begun = [V3.model_copy(update={"sweeping": (name(2), name(1))}), V2, V1]
    assert kept_versions(begun, {name(1)}, 2, hours(99), at(3)) == {name(3)}


@pytest.mark.parametrize(
    ("kept", "wanted"),
    [
        ({3, 2, 1}, []),
        ({3, 2}, [key(1)]),
        ({3, 1}, [key(2)]),
        ({3}, [key(1, GRAPH), key(1), key(2)]),
    ],
)
def test_files_that_a_kept_version_names_stay(kept: set[int], wanted: list[str]) -> None:
    """Also if they lie under a version that goes; no manifest of a version ever goes."""
    found = old_versions(CHAIN, {name(one) for one in kept}, LISTED, LINES, hours(0), at(9))
    assert [entry.key for swept in found for entry in swept.objects] == wanted
    assert [swept.owner for swept in found] == sorted({one.split("/")[3] for one in wanted})


def test_young_files_of_old_versions_stay() -> None:
    """Of each file its own age counts."""
    listed = [stored(key(1), at(8)), stored(key(2), at(0))]
    found = old_versions(CHAIN, {name(3)}, listed, LINES, hours(2), at(9))
    assert [swept.owner for swept in found] == [name(2)]


def test_what_a_gc_began_goes_whatever_the_age_is_now() -> None:
    """That gc may be paused, not dead: what it will delete must be gone before it is told to be over."""
    begun = [V3.model_copy(update={"sweeping": (name(1),)}), V2, V1]
    listed = [stored(key(1), at(8)), stored(key(2), at(8))]
    found = old_versions(begun, {name(3)}, listed, LINES, hours(2), at(9))
    assert [swept.owner for swept in found] == [name(1)]


def test_a_version_that_names_what_goes_goes_too() -> None:
    """A rollback has no files of its own: with those of its content it is swept."""
    again = rolled_back(4, V3, V1)
    newest = version(5, again, [key(5)], at(4))
    chain = [newest, again, *CHAIN]
    found = old_versions(chain, {newest.version}, LISTED, LINES, hours(0), at(9))
    assert not_whole_without(chain, found) == {name(number) for number in (1, 2, 3, 4)}
    assert not_whole_without(chain, []) == set()


@pytest.mark.parametrize(
    ("stray", "epoch", "min_age", "goes"),
    [
        ("5-0123456789ab", 6, 0, True),
        ("6-0123456789ab", 6, 0, False),
        ("7-0123456789ab", 6, 0, False),
        ("5-0123456789ab", 6, 10, False),
        ("backup", 6, 0, False),
        ("5-0123456789AB", 6, 0, False),
        ("5-0123456789ab.old", 6, 0, False),
    ],
    ids=["older epoch", "ours", "later", "young", "foreign", "capitals", "longer"],
)
def test_what_merges_left(stray: str, epoch: int, min_age: float, goes: bool) -> None:
    """Only under names that we give, only of an epoch that is over, and its manifest stays."""
    prefix = f"{versions_prefix(LINES)}{stray}/"
    listed = [*LISTED, stored(prefix + "records.arrow", at(0)), stored(prefix + MANIFEST, at(0))]
    found = unpublished(CHAIN, listed, LINES, epoch, hours(min_age), at(9))
    keys = [entry.key for swept in found for entry in swept.objects]
    assert keys == ([prefix + "records.arrow"] if goes else [])


@pytest.mark.parametrize(("age", "goes"), [(3.0, False), (4.0, True)])
def test_nothing_younger_than_twice_the_longest_merge(age: float, goes: bool) -> None:
    """However small the minimal age is set; and one young file keeps them all."""
    chain = [V3, V2.model_copy(update={"merge_seconds": 7200.0}), V1]
    left = [stored(f"{versions_prefix(LINES)}2-0123456789ab/{path}", at(0)) for path in ("a", "b")]
    assert bool(unpublished(chain, left, LINES, 9, hours(0), at(age))) is goes
    left[1] = stored(left[1].key, at(age))
    assert unpublished(chain, left, LINES, 9, hours(0), at(age)) == []


def test_a_folder_of_a_console_is_nobodys() -> None:
    """An object of the prefix itself, and one beside the versions."""
    listed = [stored(versions_prefix(LINES)), stored(f"{versions_prefix(LINES)}notes.txt")]
    assert unpublished(CHAIN, listed, LINES, 9, hours(0), at(9)) == []
    assert old_versions(CHAIN, set(), listed, LINES, hours(0), at(9)) == []


FIRST, SECOND = "20260102T120000Z-00000001", "20260102T120000Z-00000002"


def test_intermediates_by_execution() -> None:
    """Chunks and groups go together, once none is young; what has another form is nobody's."""
    mine = [
        f"intermediate/{FIRST}-group-0/merged/rows.arrow",
        f"intermediate/{FIRST}/chunk-0/manifest.json",
        f"intermediate/{FIRST}/chunk-12/rows.arrow",
    ]
    others = [
        "intermediate/",
        "intermediate/by-hand/chunk-0/rows.arrow",
        f"intermediate/{FIRST}/notes.txt",
        f"intermediate/{FIRST}-group-0/rows.arrow",
        f"intermediate/{FIRST}0/chunk-0/rows.arrow",
    ]
    listed = [stored(one, at(0)) for one in mine + others]
    young = [stored(f"intermediate/{SECOND}/chunk-0/rows.arrow", at(0))]
    young += [stored(f"intermediate/{SECOND}/chunk-1/rows.arrow", at(8))]
    found = by_execution(listed + young, hours(2), at(9))
    assert [(swept.owner, [entry.key for entry in swept.objects]) for swept in found] == [(FIRST, mine)]
    assert found[0].size == 3


def test_deltas_by_their_prefix() -> None:
    """Whole deltas, none of whose objects is young; no object that lies beside them."""
    prefix = delta_prefix(LINES)
    listed = [stored(prefix + path, at(0)) for path in ("", "notes", "one/manifest.json", "one/rows.arrow")]
    listed += [stored(prefix + "two/manifest.json", at(8)), stored(prefix + "two/rows.arrow", at(0))]
    found = by_delta(listed, LINES, hours(2), at(9))
    assert [swept.owner for swept in found] == [f"{prefix}one/"]
    assert len(found[0].objects) == 2


def test_deltas_that_versions_account_for() -> None:
    """Of every generation; not of batches that need theirs, and not of those without one."""
    again = version(4, V3, [key(4)], batches=[batch("a", 1), batch("empty", 0, None)])
    wanted = {f"{delta_prefix(LINES)}{one}/" for one in ("a-0", "a-1", "c-0")}
    assert published_deltas([again, *CHAIN], {"b"}) == wanted


def test_ages_are_differences() -> None:
    """A server whose clock is ahead makes objects young, never old."""
    ahead = [stored(key(1), NOON + timedelta(days=2))]
    assert old_versions(CHAIN, {name(3)}, ahead, LINES, hours(0), NOON) == []
