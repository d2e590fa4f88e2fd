"""Tags: names for versions that exist and are whole, set under the lock."""

from __future__ import annotations

from dataclasses import replace

import pytest

from embedding_assets.bucket.keys import tags_prefix, version_prefix
from embedding_assets.bucket.store import Store
from embedding_assets.databases import LINES, WORDS
from embedding_assets.errors import DamagedError, InputError, LockError, NotFoundError
from embedding_assets.ledger.locks import MergeLock
from embedding_assets.upkeep.tagging import remove_tag, set_tag
from embedding_assets.versions.publish import amend
from embedding_assets.versions.reader import find_version
from embedding_assets.versions.tags import Tag, read_tags, resolve, tag_key
from embedding_assets_tests.executions.conftest import LEASE_SECONDS, Workbench
from embedding_assets_tests.upkeep.sweeping import collect


def name(bench: Workbench, tag: str, version: str | None = None, lease: float = LEASE_SECONDS) -> Tag:
    return set_tag(bench.publisher(lease=lease), tag, version)


def named(store: Store) -> dict[str, str]:
    return {tag.tag: tag.version for tag in read_tags(store, LINES)}


def test_a_tag_names_a_version_wherever_one_is_asked_for(bench: Workbench, four: list[str]) -> None:
    """By default the published one; by its name, or by another tag's."""
    assert name(bench, "good", four[0]).version == four[0]
    assert name(bench, "newest").version == four[3]
    assert name(bench, "same", "good").version == four[0]
    assert named(bench.store) == {"good": four[0], "newest": four[3], "same": four[0]}
    assert find_version(bench.store, LINES, "good").version == four[0]
    assert resolve(bench.store, LINES, four[1]) == four[1]
    assert resolve(bench.store, LINES, "unknown") == "unknown"
    assert resolve(bench.store, LINES, "../x") == "../x"


def test_a_tag_moves(bench: Workbench, four: list[str]) -> None:
    """One object, the latest word; setting it again changes nothing else."""
    before = bench.keys()
    name(bench, "good", four[0])
    name(bench, "good", four[1])
    assert named(bench.store) == {"good": four[1]}
    assert bench.keys() - before == {f"{tags_prefix(LINES)}good.json"}


def test_a_tag_that_is_taken_away(bench: Workbench, four: list[str]) -> None:
    """Its version is as it was; taking it away twice is told."""
    name(bench, "good", four[0])
    remove_tag(bench.store, LINES, "good")
    assert named(bench.store) == {}
    with pytest.raises(InputError, match="no tag 'good'"):
        remove_tag(bench.store, LINES, "good")
    with pytest.raises(NotFoundError, match="no version 'good'"):
        find_version(bench.store, LINES, "good")


@pytest.mark.parametrize("tag", ["", ".", "-x", "a/b", "../x", "a b", "ä", "x" * 65, "7-0123456789ab", "a\n"])
def test_names_that_cannot_be_tags(bench: Workbench, tag: str) -> None:
    """They would be keys elsewhere, options, or be taken for versions."""
    with pytest.raises(InputError, match="cannot be a tag"):
        tag_key(LINES, tag)
    with pytest.raises(InputError, match="cannot be a tag"):
        name(bench, tag)


@pytest.mark.parametrize("tag", ["v1.2", "2026-11-21", "_x", "x" * 64, "7-0123456789abc"])
def test_names_that_can_be_tags(tag: str) -> None:
    """Dates and numbers among them."""
    assert tag_key(LINES, tag) == f"lines/snapshot/tags/{tag}.json"


def test_only_published_versions_get_a_name(bench: Workbench, four: list[str]) -> None:
    """Not one that nobody knows, nor what a merge left behind."""
    bench.store.put(f"{version_prefix(LINES, '9-0123456789ab')}manifest.json", b"{}")
    for version in ("9-0123456789ab", "unknown"):
        with pytest.raises(NotFoundError, match="has no version"):
            name(bench, "good", version)
    with pytest.raises(NotFoundError, match="no published version"):
        set_tag(replace(bench.publisher(), database=WORDS), "good", None)
    assert named(bench.store) == {}


def test_what_is_swept_gets_no_name(bench: Workbench, four: list[str]) -> None:
    """Neither while it is being swept, nor afterwards: a name is a promise that it can be published again."""
    amend(bench.store, LINES, bench.pointer(), bench.pointer().epoch, (four[0],))
    with pytest.raises(InputError, match="swept"):
        name(bench, "good", four[0])
    collect(bench)
    with pytest.raises(InputError, match="swept"):
        name(bench, "good", four[0])
    assert named(bench.store) == {}


def test_a_tag_whose_lock_was_taken_over_is_told(
    bench: Workbench, four: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paused before it was written, while a gc swept that very version: whoever set it is told."""
    monkeypatch.setattr(MergeLock, "_beat", lambda self: None)
    put = Store.put

    def late(self: Store, key: str, data: bytes, content_type: str = "application/json") -> None:
        if key.startswith(tags_prefix(LINES)):
            collect(bench)
        put(self, key, data, content_type)

    monkeypatch.setattr(Store, "put", late)
    with pytest.raises(LockError):
        name(bench, "good", four[0], lease=0.3)
    assert collect(bench, dry_run=True).kept[0] == four[3]


def test_other_objects_beside_tags(bench: Workbench, four: list[str]) -> None:
    """A console's folder, notes: none is a tag. What has a tag's name must be one."""
    name(bench, "good", four[0])
    for key in ("", "notes.txt"):
        bench.store.put(f"{tags_prefix(LINES)}{key}", b"")
    assert named(bench.store) == {"good": four[0]}
    bench.store.put(f"{tags_prefix(LINES)}bad.json", b"{}")
    with pytest.raises(DamagedError, match=r"bad\.json is not a tag"):
        read_tags(bench.store, LINES)


def test_a_tag_that_vanishes_while_they_are_listed(
    bench: Workbench, four: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is gone, and no error."""
    name(bench, "good", four[0])
    name(bench, "other", four[1])
    find = Store.find
    monkeypatch.setattr(Store, "find", lambda self, key: None if "good" in key else find(self, key))
    assert named(bench.store) == {"other": four[1]}
