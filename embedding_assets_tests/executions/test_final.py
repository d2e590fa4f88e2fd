"""The final merge: what is published, what stays, what is refused, and that doing it again is the same."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from typing import Any

import pytest

from embedding_assets.bucket.keys import changes_key
from embedding_assets.chroma.collection import ChromaRows, ChromaWriter
from embedding_assets.databases import LINES, Database
from embedding_assets.errors import ConservationError, DamagedError, LockError, MismatchError
from embedding_assets.executions.accounting import inputs_digest
from embedding_assets.executions.final import FinalMerger, _Merge
from embedding_assets.executions.intermediate import IntermediateSnapshots
from embedding_assets.executions.result import FinalMergeResult
from embedding_assets.ledger.batch_summary import Status
from embedding_assets.ledger.locks import MergeLock
from embedding_assets.rows.snapshot_directory import Format
from embedding_assets.versions.changes_file import rows_of
from embedding_assets.versions.manifest import chain, read_pointer
from embedding_assets.versions.publish import commit, fence
from embedding_assets.versions.publisher import Publisher
from embedding_assets.versions.receipts import receipt_key
from embedding_assets_tests.deltas import MODEL, at, poll_result, record, records
from embedding_assets_tests.executions.conftest import Workbench, execution
from embedding_assets_tests.faulty_s3 import faulty_store, lose, nothing
from embedding_assets_tests.reference import Expected, reference_digest

POINTER = "lines/snapshot/latest/manifest.json"
VERSIONS = "lines/snapshot/versions/"


def counts(result: FinalMergeResult) -> tuple[int, int, int, int]:
    return result.added, result.updated, result.unchanged, result.total_embeddings


def by_id(*several: list[Expected]) -> dict[str, Expected]:
    """Later lists win."""
    return {one.id: one for wanted in several for one in wanted}


def assert_published(bench: Workbench, wanted: dict[str, Expected]) -> None:
    """The pointer's version holds exactly these records, and its digest is the contract's."""
    manifest = bench.pointer().manifest
    assert bench.published() == wanted
    assert manifest.content_digest == reference_digest(wanted.values())
    assert manifest.total_embeddings == len(wanted)


def test_a_first_version(bench: Workbench) -> None:
    """Everything is added; the manifest tells all that the contract names; no other key is written."""
    first = [*records("a", 4), record("floats", 9, None, {"f": 0.1 + 0.2})]
    results = [
        bench.batch("b1", first[:3], at(0), failed=2),
        bench.batch("b2", first[3:], at(1), status="expired"),
    ]
    result = bench.merge(results, 1)
    assert counts(result) == (5, 0, 0, 5)
    assert_published(bench, by_id(first))
    manifest = bench.pointer().manifest
    assert result.snapshot_version == manifest.version
    assert result.snapshot_key == "lines/snapshot/latest/"
    assert result.execution_id == manifest.execution_id == execution(1)
    assert result.batches == ("b1", "b2")
    assert result.content_digest == manifest.content_digest
    assert result.size == manifest.size == sum(file.size for file in manifest.files)
    assert (manifest.database, manifest.collection, manifest.space) == ("lines", "lines", "l2")
    assert (manifest.parent, manifest.epoch, manifest.fence) == (None, 1, 1)
    assert (manifest.model, manifest.dimensions) == (MODEL, 8)
    assert manifest.version.startswith("1-")
    told = [(one.batch_id, one.generation, one.status, one.embedded, one.failed) for one in manifest.batches]
    assert told == [("b1", 0, Status.COMPLETED, 3, 2), ("b2", 0, Status.EXPIRED, 2, 0)]
    prefix = f"{VERSIONS}{manifest.version}/"
    assert {file.key for file in manifest.files} == {prefix + file.path for file in manifest.files}
    assert {"records.arrow", "chroma.sqlite3"} < {file.path for file in manifest.files}
    assert bench.keys("lines/snapshot/") == {
        POINTER,
        f"{prefix}manifest.json",
        *(file.key for file in manifest.files),
        changes_key(LINES, manifest.version),
        receipt_key(LINES, execution(1), manifest.inputs_digest),
    }


def test_a_second_execution_adds_updates_and_leaves(bench: Workbench) -> None:
    """Counts, content, chain and epoch over two executions; the first version stays as it was."""
    old = records("a", 6)
    bench.merge([bench.batch("b1", old, at(0))], 1)
    first = bench.pointer().manifest
    newer = [
        record("a1", 50, "new", {"other": "keys"}),
        record("a2", 51, None, None),
        old[3],
        *records("n", 2, 60),
    ]
    result = bench.merge([bench.batch("b2", newer, at(1))], 2)
    assert counts(result) == (2, 2, 1, 8)
    assert_published(bench, by_id(old, newer))
    second = bench.pointer().manifest
    assert (second.parent, second.epoch) == (first.version, 2)
    assert (second.added, second.updated, second.unchanged) == (2, 2, 1)
    assert bench.published(first) == by_id(old)
    assert [one.version for one in chain(bench.store, LINES, second)] == [second.version, first.version]


def test_unchanged_files_are_named_not_uploaded_again(bench: Workbench) -> None:
    """A batch to mark and no record changed: a new version that names the parent's files, but for the index."""
    old = records("a", 5)
    bench.merge([bench.batch("b1", old, at(0))], 1)
    first = bench.pointer().manifest
    result = bench.merge([bench.batch("b2", old[:2], at(1))], 2)
    assert counts(result) == (0, 0, 2, 5)
    second = bench.pointer().manifest
    assert second.version != first.version
    assert second.parent == first.version
    assert second.content_digest == first.content_digest
    assert [one.batch_id for one in second.batches] == ["b2"]
    of_parent = {file.path: file for file in first.files if file.path != "records.arrow"}
    assert {file.path: file for file in second.files if file.path != "records.arrow"} == of_parent
    own = f"{VERSIONS}{second.version}/"
    assert bench.keys(own) == {f"{own}manifest.json", f"{own}records.arrow"}
    assert_published(bench, by_id(old))


def test_a_version_of_an_unchanged_index_uploads_nothing_but_its_manifest(bench: Workbench) -> None:
    """The same batch, opened again, delivers the same: every file is the parent's."""
    old = records("a", 5)
    bench.merge([bench.batch("b1", old, at(0))], 1)
    first = bench.pointer().manifest
    again = bench.ledger.reopen(bench.ledger.reset(bench.ledger.get("b1"), Status.COMPLETED))
    reopened = poll_result("b1", 5, first_key(bench), precedence=at(0), generation=again.generation)
    bench.merge([reopened], 2)
    second = bench.pointer().manifest
    own = f"{VERSIONS}{second.version}/"
    assert bench.keys(own) == {f"{own}manifest.json"}
    assert second.files == first.files
    assert second.batches[0].generation == 1


def first_key(bench: Workbench) -> str:
    """Prefix of the only delta."""
    [key] = [key for key in bench.keys("lines/delta/") if key.endswith("manifest.json")]
    return key.removesuffix("manifest.json")


def test_merging_the_same_again_finds_the_same_version(bench: Workbench) -> None:
    """Re-materializing an execution: nothing is written, also after another execution was published."""
    results = [bench.batch("b1", records("a", 4), at(0))]
    first = bench.merge(results, 1)
    bench.merge([bench.batch("b2", records("b", 3, 20), at(1))], 2)
    before = bench.keys()
    again = bench.merge(results, 1)
    assert again.model_copy(update={"processing_time_seconds": 0}) == first.model_copy(
        update={"processing_time_seconds": 0}
    )
    assert bench.keys() == before


def test_an_execution_with_nothing_to_mark_and_nothing_new_commits_nothing(bench: Workbench) -> None:
    """Overlapping executions are wasteful, never wrong: the published version is the answer, all is unchanged."""
    results = [bench.batch("b1", records("a", 4), at(0))]
    bench.merge(results, 1)
    bench.ledger.finish("b1", 0, Status.COMPLETED, {})
    before = bench.pointer()
    result = bench.merge(results, 2)
    assert bench.pointer() == before
    assert counts(result) == (0, 0, 4, 4)


def test_nothing_with_a_delta_is_the_current_version(bench: Workbench) -> None:
    """Also before there is any."""
    empty = IntermediateSnapshots(execution_id=execution(1), intermediates=())
    none = bench.merger().merge([poll_result("b", 0, None)], empty)
    assert (none.snapshot_version, counts(none)) == (None, (0, 0, 0, 0))
    assert bench.keys() == set()
    published = bench.merge([bench.batch("b1", records("a", 4), at(0))], 2)
    current = bench.merger().merge([], empty)
    assert current.snapshot_version == published.snapshot_version
    assert counts(current) == (0, 0, 0, 4)
    assert current.batches == ()


def test_an_old_batch_that_arrives_late_does_not_win(bench: Workbench) -> None:
    """A later submission wins whatever the order of ingestion, and ids of the old one alone are added."""
    newer = records("a", 3, 100)
    bench.merge([bench.batch("new", newer, at(5))], 1)
    older = [*records("a", 3), *records("only", 1, 30)]
    result = bench.merge([bench.batch("old", older, at(1))], 2)
    assert counts(result) == (1, 0, 3, 4)
    assert_published(bench, by_id(older, newer))
    assert [one.batch_id for one in bench.pointer().manifest.batches] == ["old"]


@pytest.mark.parametrize(
    ("deltas", "intermediates", "group_size"),
    [("arrow", "arrow", None), ("chroma", "chroma", 2), ("mixed", "arrow", 2), ("mixed", "chroma", None)],
)
def test_every_format_and_hierarchy_gives_the_same_digest(
    bench: Workbench, deltas: str, intermediates: Format, group_size: int | None
) -> None:
    """Arrow, Chroma or both, with groups or without: the same records, the digest computed from the inputs."""
    bench.chunk_size = 2 if group_size is None else 1
    forms: list[Format] = (
        ["arrow", "chroma"] if deltas == "mixed" else ["arrow" if deltas == "arrow" else "chroma"]
    )
    results = []
    wanted: dict[str, Expected] = {}
    for number in range(4):
        odd: dict[str, Any] = {"f": 0.1 * number, "l": ["x", str(number)], "s": "ä\u2028"}
        rows = [*records(f"own{number}-", 3, 10 * number), record("shared", 200 + number, None, odd)]
        form = forms[number % len(forms)]
        results.append(bench.batch(f"b{number}", rows, at(number), form=form))
        wanted |= by_id(rows)
    result = bench.merge(results, 1, intermediates, group_size)
    assert counts(result) == (13, 0, 0, 13)
    manifest = bench.pointer().manifest
    assert manifest.content_digest == reference_digest(wanted.values())
    assert bench.published().keys() == wanted.keys()


def without_part(snapshots: IntermediateSnapshots) -> IntermediateSnapshots:
    return snapshots.model_copy(update={"intermediates": snapshots.intermediates[:-1]})


def without_chunk(snapshots: IntermediateSnapshots) -> IntermediateSnapshots:
    return snapshots.model_copy(update={"chunks": snapshots.chunks[:-1]})


def without_both(snapshots: IntermediateSnapshots) -> IntermediateSnapshots:
    return without_chunk(without_part(snapshots))


@pytest.mark.parametrize("lossy", [without_part, without_chunk, without_both])
@pytest.mark.parametrize("group_size", [None, 2], ids=["chunks", "groups"])
def test_an_intermediate_that_gets_lost_stops_the_merge(
    bench: Workbench, lossy: Any, group_size: int | None
) -> None:
    """Failure of record: 62,455 expected, 13,223 merged, all batches marked. Here nothing is published."""
    bench.chunk_size = 1
    results = [bench.batch(f"b{number}", records(f"r{number}-", 2, 10 * number)) for number in range(4)]
    snapshots = bench.intermediates(results, 1, group_size=group_size)
    with pytest.raises(ConservationError):
        bench.merger().merge(results, lossy(snapshots))
    assert read_pointer(bench.store, LINES) is None


def test_a_poll_that_counted_more_stops_the_merge(bench: Workbench) -> None:
    """A batch of the execution whose delta is in no chunk."""
    results = [bench.batch("b1", records("a", 3)), bench.batch("b2", records("b", 2))]
    snapshots = bench.intermediates(results[:1], 1)
    with pytest.raises(ConservationError, match="5 embeddings were polled, 3 came into chunks"):
        bench.merger().merge(results, snapshots)
    assert bench.keys("lines/snapshot/") == set()


@pytest.mark.parametrize(
    ("told", "dimensions", "named"),
    [({"dimensions": 16}, 16, "16 dimensions"), ({"model": "text-embedding-3-large"}, 8, "3-large")],
)
def test_what_does_not_fit_is_refused(bench: Workbench, told: dict[str, Any], dimensions: int, named: str) -> None:
    """Another length or model than the published version's."""
    bench.merge([bench.batch("b1", records("a", 3))], 1)
    before = bench.pointer()
    other = bench.batch("b2", [record("x", 1, dimensions=dimensions)], at(1), **told)
    with pytest.raises(MismatchError, match=named):
        bench.merge([other], 2)
    assert bench.pointer() == before


def test_a_changed_distance_is_refused(bench: Workbench) -> None:
    """The published index ranks by another distance."""
    bench.merge([bench.batch("b1", records("a", 3))], 1)
    bench.database = Database(name="lines", batch_type="LINE_EMBEDDING", delta_folder="receipt_lines", space="ip")
    with pytest.raises(MismatchError, match="ip"):
        bench.merge([bench.batch("b2", records("b", 3), at(1))], 2)


def test_a_damaged_base_is_refused(bench: Workbench) -> None:
    """Nothing is built on bytes that are not what the manifest says."""
    bench.merge([bench.batch("b1", records("a", 3))], 1)
    before = bench.pointer()
    [victim] = [file.key for file in before.manifest.files if file.path == "chroma.sqlite3"]
    bench.store.put(victim, b"other bytes")
    with pytest.raises(DamagedError, match=r"chroma\.sqlite3"):
        bench.merge([bench.batch("b2", records("b", 3), at(1))], 2)
    assert bench.pointer() == before


def test_two_executions_at_once_both_get_in(bench: Workbench) -> None:
    """The lock puts one after the other: the union is published, epochs grow, nothing is lost."""
    jobs = []
    for number in (1, 2):
        results = [bench.batch(f"b{number}", records(f"r{number}-", 5, 10 * number), at(number))]
        jobs.append((results, bench.intermediates(results, number)))
    done: list[FinalMergeResult] = []
    threads = [threading.Thread(target=lambda job=job: done.append(bench.merger().merge(*job))) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.total_embeddings for one in done) == [5, 10]
    assert_published(bench, by_id(records("r1-", 5, 10), records("r2-", 5, 20)))
    epochs = [one.epoch for one in chain(bench.store, LINES, bench.pointer().manifest)]
    assert epochs == [2, 1]


def test_a_version_published_meanwhile_is_built_upon(bench: Workbench) -> None:
    """Also if the lock failed: the pointer's condition finds it, and the merge begins again on the new base."""
    bench.merge([bench.batch("b1", records("a", 3), at(0))], 1)
    ours = [bench.batch("b2", records("b", 2, 20), at(1))]
    theirs = [bench.batch("b3", records("c", 2, 40), at(2))]
    other = bench.intermediates(theirs, 3)

    def without_a_lock(key: str) -> None:
        pointer = bench.pointer()
        with MergeLock(
            bench.ledger.client,
            bench.ledger.table,
            "another",
            execution_id=execution(3),
            lease_seconds=5,
            epoch_floor=lambda: pointer.epoch - 1,
        ) as lock:
            merger = bench.merger()
            merger._next(_Merge(theirs, other, lock, 0.0, rows_of([])), pointer)

    faulty, _ = faulty_store(bench.store, POINTER, (without_a_lock, nothing))
    result = bench.merger(faulty).merge(ours, bench.intermediates(ours, 2))
    assert counts(result) == (2, 0, 0, 7)
    assert_published(bench, by_id(records("a", 3), records("b", 2, 20), records("c", 2, 40)))
    assert any("published meanwhile" in line for line in bench.messages)


def test_a_lost_answer_publishes_once(bench: Workbench) -> None:
    """The commit was applied, its answer lost: recognised, one version, no rebase."""
    results = [bench.batch("b1", records("a", 3), at(0))]
    faulty, puts = faulty_store(bench.store, POINTER, (nothing, lose))
    result = bench.merger(faulty).merge(results, bench.intermediates(results, 1))
    assert puts.sent == 1
    assert result.snapshot_version == bench.pointer().manifest.version
    assert len([key for key in bench.keys(VERSIONS) if key.endswith("manifest.json")]) == 1


def test_a_holder_that_was_taken_over_publishes_nothing(bench: Workbench) -> None:
    """The pointer was fenced by a new holder while ours was building: LockError, and the fence stays."""
    bench.merge([bench.batch("b1", records("a", 3), at(0))], 1)
    ours = [bench.batch("b2", records("b", 2, 20), at(1))]

    def taken_over(key: str) -> None:
        fence(bench.store, LINES, bench.pointer(), 99)

    faulty, _ = faulty_store(bench.store, POINTER, (taken_over, nothing))
    with pytest.raises(LockError, match="99"):
        bench.merger(faulty).merge(ours, bench.intermediates(ours, 2))
    assert_published(bench, by_id(records("a", 3)))
    assert bench.pointer().epoch == 99


def test_a_takeover_fences_before_anything_is_built(bench: Workbench) -> None:
    """The former holder died without releasing, or only paused: its commit on the old pointer must fail."""
    bench.merge([bench.batch("b1", records("a", 3), at(0))], 1)
    old = bench.pointer()
    dead = MergeLock(
        bench.ledger.client,
        bench.ledger.table,
        "lines",
        execution_id=execution(9),
        lease_seconds=1.0,
        epoch_floor=lambda: old.epoch,
    )
    dead._acquire()
    late_commit = {"version": "2-late", "commit_id": "late", "epoch": dead.epoch, "parent": old.manifest.version}
    late = old.manifest.model_copy(update=late_commit)
    fences: list[int] = []

    def look(line: str) -> None:
        if line.startswith("waiting"):
            return
        if not fences:
            with pytest.raises(LockError, match="epoch 3"):
                commit(bench.store, LINES, late, old)
        fences.append(bench.pointer().manifest.fence)

    results = [bench.batch("b2", records("b", 2, 20), at(1))]
    snapshots = bench.intermediates(results, 2)
    FinalMerger(Publisher(bench.store, bench.ledger, LINES, 1.0, look)).merge(results, snapshots)
    assert set(fences) == {3}
    assert (dead.epoch, bench.pointer().manifest.epoch) == (2, 3)
    assert_published(bench, by_id(records("a", 3), records("b", 2, 20)))


def test_other_poll_results_of_the_same_execution_are_another_version(bench: Workbench) -> None:
    """An execution run again after one of its batches went on: what it found first is not the answer any more."""
    first = bench.batch("b1", records("a", 3), at(0))
    bench.merge([first], 1)
    second = bench.batch("b2", records("b", 2, 20), at(1))
    result = bench.merge([first, second], 1)
    assert counts(result) == (2, 0, 3, 5)
    assert bench.pointer().manifest.version == result.snapshot_version
    assert [one.batch_id for one in bench.pointer().manifest.batches] == ["b1", "b2"]


class LossyWriter(ChromaWriter):
    """A Chroma that changes one bit of one vector."""

    def add(self, rows: ChromaRows) -> None:
        vectors = rows.vectors.copy()
        vectors.view("<u4")[0, 0] ^= 1
        super().add(replace(rows, vectors=vectors))


def test_a_version_that_is_not_what_was_merged_is_not_published(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever Chroma did to it: nothing is uploaded, nothing published."""
    monkeypatch.setattr("embedding_assets.executions.write_index.ChromaWriter", LossyWriter)
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(DamagedError, match="not what was merged"):
        bench.merge([bench.batch("b1", records("a", 3), at(0))], 1)
    assert bench.keys("lines/snapshot/") == set()


def test_epochs_grow_over_the_pointers(bench: Workbench) -> None:
    """A table restored from an older state, or lost: the pointer's fence is the floor."""
    bench.merge([bench.batch("b1", records("a", 3), at(0))], 1)
    fence(bench.store, LINES, bench.pointer(), 40)
    bench.merge([bench.batch("b2", records("b", 1, 20), at(1))], 2)
    assert bench.pointer().manifest.epoch == 41
    assert bench.pointer().manifest.version.startswith("41-")


def test_a_result_polled_before_its_batch_was_opened_again_yields(bench: Workbench) -> None:
    """Generation 1 is published; an execution that polled generation 0 comes late with the same precedence."""
    old = bench.batch("b1", records("a", 2), at(0))
    bench.forget("b1")
    newer = [record("a0", 90, "corrected", None), *records("a", 2)[1:]]
    bench.merge([bench.batch("b1", newer, at(0), generation=1)], 1)
    late = bench.merge([old], 2)
    assert counts(late)[:2] == (0, 0)
    assert_published(bench, by_id(newer))


def test_withdrawn_batches_stay_so_until_they_come_again(bench: Workbench) -> None:
    """After a rollback the list is carried along; a batch that is published again leaves it."""
    bench.merge([bench.batch("b1", records("a", 3), at(0))], 1)
    base = bench.pointer()
    rolled_back = base.manifest.model_copy(
        update={
            "version": "1-rollback",
            "commit_id": "rollback",
            "parent": base.manifest.version,
            "execution_id": "rollback",
            "batches": (),
            "withdrawn": ("b8", "b2"),
        }
    )
    commit(bench.store, LINES, rolled_back, base)
    bench.merge([bench.batch("b2", records("b", 2, 20), at(1), generation=1)], 2)
    assert bench.pointer().manifest.withdrawn == ("b8",)
    bench.merge([bench.batch("b3", records("c", 2, 40), at(2))], 3)
    assert bench.pointer().manifest.withdrawn == ("b8",)


def test_the_inputs_digest_tells_polls_apart() -> None:
    """The order of batches does not matter; what was polled does."""
    one, two = poll_result("b1", 1, "k/1/"), poll_result("b2", 2, "k/2/")
    assert inputs_digest([one, two]) == inputs_digest([two, one])
    others: list[dict[str, Any]] = [
        {"delta_key": "k/3/"},
        {"generation": 1},
        {"failed_count": 1},
        {"unfinished_count": 1},
    ]
    digests = {inputs_digest([one.model_copy(update=update), two]) for update in others}
    assert len(digests | {inputs_digest([one, two])}) == 5
