"""gc on a real bucket and table: exactly what nothing needs goes, and what it takes to stay."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import pytest

from embedding_assets.bucket.keys import (
    delta_prefix,
    manifest_key,
    pointer_key,
    tags_prefix,
    version_prefix,
    versions_prefix,
)
from embedding_assets.databases import LINES
from embedding_assets.errors import DamagedError, LostPointerError
from embedding_assets.rows.snapshot_directory import MANIFEST
from embedding_assets.upkeep import gc as gc_module
from embedding_assets.upkeep.tagging import set_tag
from embedding_assets.versions import publisher as publisher_module
from embedding_assets_tests.deltas import at, records
from embedding_assets_tests.executions.conftest import Workbench, execution
from embedding_assets_tests.upkeep.sweeping import (
    Killed,
    all_versions,
    check_whole,
    collect,
    keys_of,
    plan,
    rollback,
)


class Tomorrow(datetime):
    """The clock of somebody for whom everything is a day old."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + timedelta(days=1)


def own_files(bench: Workbench, *versions: str) -> set[str]:
    """Files of versions but for those that the published one names, and their manifests."""
    named = {file.key for file in bench.pointer().manifest.files}
    keys = {key for version in versions for key in bench.keys(version_prefix(LINES, version))}
    return {key for key in keys if not key.endswith(f"/{MANIFEST}")} - named


def test_exactly_what_nothing_needs_goes(bench: Workbench, planned: list[str], tmp_path: Path) -> None:
    """Files of old versions that the published one does not name, all intermediates, all deltas; nothing else."""
    before = bench.keys()
    wanted = own_files(bench, *planned[:3]) | bench.keys("intermediate/") | bench.keys(delta_prefix(LINES))
    assert own_files(bench, planned[2]) == {f"{version_prefix(LINES, planned[2])}records.arrow"}
    garbage = collect(bench)
    assert before - bench.keys() == wanted == keys_of(garbage)
    assert bench.keys() <= before
    assert garbage.kept == (planned[3],)
    assert [swept.owner for swept in garbage.versions] == planned[:3]
    assert [swept.owner for swept in garbage.intermediates] == [execution(number) for number in (1, 2, 3, 4)]
    assert (len(garbage.deltas), garbage.unpublished) == (4, ())
    assert bench.pointer().manifest.sweeping == ()
    check_whole(bench, tmp_path / "kept", garbage.kept)


def test_a_dry_run_changes_nothing_and_tells_the_same(bench: Workbench, planned: list[str]) -> None:
    """No key, not a byte of the pointer; the plan is that of the gc after it."""
    before, pointer = bench.keys(), bench.pointer()
    told = collect(bench, dry_run=True)
    assert (bench.keys(), bench.pointer()) == (before, pointer)
    assert collect(bench) == told
    assert keys_of(collect(bench)) == set()


def test_a_second_gc_finds_nothing(bench: Workbench, planned: list[str]) -> None:
    """And leaves the pointer as it is: there is nothing to tell."""
    collect(bench)
    before, pointer = bench.keys(), bench.pointer()
    assert keys_of(collect(bench)) == set()
    assert (bench.keys(), bench.pointer()) == (before, pointer)


def test_without_a_pointer_nothing_is_swept(bench: Workbench, planned: list[str]) -> None:
    """A lost pointer would make everything garbage: then gc refuses."""
    bench.store.delete([pointer_key(LINES)])
    before = bench.keys()
    with pytest.raises(LostPointerError, match=f"{planned[-1]}.*snapshots repair lines"):
        collect(bench)
    assert bench.keys() == before


def test_without_its_chain_nothing_is_swept(bench: Workbench, planned: list[str]) -> None:
    """A manifest that is missing in the chain could have named anything."""
    bench.store.delete([f"{version_prefix(LINES, planned[1])}{MANIFEST}"])
    before = bench.keys()
    with pytest.raises(DamagedError, match=f"{planned[1]}/{MANIFEST} is missing"):
        collect(bench)
    assert bench.keys() == before


def test_a_tag_that_cannot_be_read_stops_a_gc(bench: Workbench, planned: list[str]) -> None:
    """It may name what would be swept; a folder made by a console names nothing."""
    bench.store.put(tags_prefix(LINES), b"")
    assert collect(bench, 9, dry_run=True).kept == tuple(planned[::-1])
    bench.store.put(f"{tags_prefix(LINES)}good.json", b"not a tag")
    before = bench.keys()
    with pytest.raises(DamagedError, match=r"good\.json is not a tag"):
        collect(bench)
    assert bench.keys() == before


def test_nothing_young_goes(bench: Workbench, planned: list[str]) -> None:
    """Objects of a moment ago, and versions that were current a moment ago."""
    before = bench.keys()
    garbage = collect(bench, hours=1)
    assert (keys_of(garbage), bench.keys()) == (set(), before)
    assert garbage.kept == tuple(planned[::-1])


def test_a_version_that_was_current_a_moment_ago_stays(
    bench: Workbench, planned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its readers may still be at it, though it is old itself."""
    monkeypatch.setattr(gc_module, "datetime", Tomorrow)
    first = all_versions(bench)[-1].model_copy(update={"created_at": "2026-01-01T00:00:00Z"})
    bench.store.put(f"{version_prefix(LINES, planned[0])}{MANIFEST}", first.model_dump_json().encode())
    assert collect(bench, hours=25, dry_run=True).kept == tuple(planned[::-1])
    assert collect(bench, hours=23, dry_run=True).kept == (planned[3],)


def test_retention_counts_versions(bench: Workbench, planned: list[str], tmp_path: Path) -> None:
    """The newest stay, each whole."""
    garbage = collect(bench, 2)
    assert garbage.kept == (planned[3], planned[2])
    check_whole(bench, tmp_path / "kept", garbage.kept)


def test_a_tagged_version_stays(bench: Workbench, planned: list[str], tmp_path: Path) -> None:
    """Whole, and to be rolled back to; once the tag is gone it goes as well."""
    set_tag(bench.publisher(), "good", planned[0])
    garbage = collect(bench)
    assert garbage.kept == (planned[3], planned[0])
    check_whole(bench, tmp_path / "kept", garbage.kept)
    made = rollback(bench, "good")
    assert made.rolled_back_to == planned[0]
    bench.store.delete([f"{tags_prefix(LINES)}good.json"])
    garbage = collect(bench)
    assert garbage.kept == (made.version,)
    check_whole(bench, tmp_path / "again", garbage.kept)


def test_merging_after_a_gc(bench: Workbench, planned: list[str], tmp_path: Path) -> None:
    """What the next version is built on is all there."""
    collect(bench)
    result = bench.merge([bench.batch("fifth", records("d", 2, 40), at(4))], 5)
    assert (result.added, result.total_embeddings) == (2, 9)
    check_whole(bench, tmp_path / "kept", [result.snapshot_version or ""])


def test_what_a_crashed_merge_left(bench: Workbench, planned: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Uploaded, never published: it goes once it is old, if no later epoch is at it."""

    def die(*_: object) -> None:
        raise Killed

    before = bench.keys(versions_prefix(LINES))
    result = bench.batch("fifth", records("d", 2, 40), at(4))
    with monkeypatch.context() as patch:
        patch.setattr(publisher_module, "commit", die)
        with pytest.raises(Killed):
            bench.merge([result], 5)
    left = bench.keys(versions_prefix(LINES)) - before
    assert left
    later = f"{versions_prefix(LINES)}999-0123456789ab/records.arrow"
    bench.store.put(later, b"")
    assert collect(bench, 9, hours=1).unpublished == ()
    monkeypatch.setattr(gc_module, "datetime", Tomorrow)
    garbage = collect(bench, 9, hours=1)
    assert {entry.key for swept in garbage.unpublished for entry in swept.objects} == left
    assert bench.keys(versions_prefix(LINES)) == before | {later}


def test_what_others_keep_there_stays(bench: Workbench, planned: list[str]) -> None:
    """Names that are not of our making, anywhere; a database's gc touches nothing of another's."""
    foreign = {
        versions_prefix(LINES),
        f"{versions_prefix(LINES)}backup/records.arrow",
        f"{versions_prefix(LINES)}notes.txt",
        f"{delta_prefix(LINES)}by-hand/rows.arrow",
        f"{delta_prefix(LINES)}notes.txt",
        "intermediate/by-hand/chunk-0/rows.arrow",
        f"intermediate/{execution(50)}/chunk-0/rows.arrow",
        "words/snapshot/versions/1-0123456789ab/records.arrow",
        "words/delta/words/receipt_words/one/rows.arrow",
    }
    for key in foreign:
        bench.store.put(key, b"")
    collect(bench)
    assert bench.keys() >= foreign


@pytest.mark.parametrize(
    "needed", ["live", "set aside", "refused", "withdrawn", "another database's", "damaged manifest"]
)
def test_intermediates_that_stay(bench: Workbench, planned: list[str], needed: str) -> None:
    """Of the second execution: some batch of it may be merged again, or it is not ours, or nobody can tell."""
    plan(bench, 2, "first", "second")
    reason_to_stay(bench, needed, planned)
    mine = bench.keys(f"intermediate/{execution(2)}")
    garbage = collect(bench)
    assert mine
    assert bench.keys(f"intermediate/{execution(2)}") == mine
    assert execution(1) in [swept.owner for swept in garbage.intermediates]
    if needed == "damaged manifest":
        assert any("warning" in line and execution(2) in line for line in bench.messages)


@pytest.mark.parametrize("needed", ["live", "set aside", "refused", "withdrawn"])
def test_deltas_that_stay(bench: Workbench, planned: list[str], needed: str) -> None:
    """That of the second batch: it is what comes back without OpenAI."""
    reason_to_stay(bench, needed, planned)
    mine = bench.keys(f"{delta_prefix(LINES)}second-")
    garbage = collect(bench)
    assert mine
    assert bench.keys(f"{delta_prefix(LINES)}second-") == mine
    assert f"{delta_prefix(LINES)}first-0-arrow/" in [swept.owner for swept in garbage.deltas]


def reason_to_stay(bench: Workbench, needed: str, versions: Sequence[str]) -> None:
    """Why what the second batch left is needed."""
    row = bench.ledger.get("second")
    if needed in ("live", "set aside", "refused"):
        bench.ledger.reopen(row)
    if needed == "set aside":
        bench.add_attributes("second", set_aside="failed 3 times")
    if needed == "refused":
        bench.add_attributes("second", submitted_at="yesterday")
    if needed == "withdrawn":
        rollback(bench, versions[0])
    if needed == "another database's":
        plan(bench, 2, "second", database="words")
    if needed == "damaged manifest":
        bench.store.put(manifest_key(execution(2)), b"{}")


def test_a_delta_of_no_version_stays(bench: Workbench, planned: list[str]) -> None:
    """Polled and not yet published, whatever its row says by now."""
    bench.batch("fifth", records("d", 2, 40), at(4))
    bench.forget("fifth")
    mine = bench.keys(f"{delta_prefix(LINES)}fifth-")
    collect(bench)
    assert bench.keys(f"{delta_prefix(LINES)}fifth-") == mine != set()


def test_a_delta_that_two_batches_share_stays(bench: Workbench, planned: list[str]) -> None:
    """One of them is live: the other's account does not set it free."""
    first = bench.batch("fifth", records("d", 2, 40), at(4))
    second = bench.batch("sixth", records("d", 2, 40), at(5)).model_copy(update={"delta_key": first.delta_key})
    bench.merge([first, second], 5)
    bench.ledger.finish("sixth", 0, bench.ledger.get("first").status, {})
    mine = bench.keys(first.delta_key or "")
    collect(bench)
    assert bench.keys(first.delta_key or "") == mine != set()
