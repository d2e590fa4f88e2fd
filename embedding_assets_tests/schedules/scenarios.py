"""What each guard is for, as a story that goes wrong without it. Each raises AssertionError if it did."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from embedding_assets.bucket.keys import pointer_key, version_prefix, versions_prefix
from embedding_assets.databases import LINES
from embedding_assets.errors import (
    ConservationError,
    DamagedError,
    InputError,
    LockError,
    MismatchError,
    PreconditionError,
    TransientError,
    WithdrawnError,
)
from embedding_assets.executions.intermediate import IntermediateMerger
from embedding_assets.executions.plan import split_chunks
from embedding_assets.ledger.batch_summary import Status
from embedding_assets.ledger.locks import MergeLock
from embedding_assets.rows.snapshot_directory import MANIFEST
from embedding_assets.upkeep.garbage import unpublished
from embedding_assets.upkeep.rollback import Rollback
from embedding_assets.versions.manifest import (
    VersionManifest,
    chain,
    new_version,
    read_pointer,
)
from embedding_assets.versions.mark import mark_published
from embedding_assets.versions.publish import commit, fence
from embedding_assets.versions.reader import pull
from embedding_assets_tests.faults.call_sites import CallSite
from embedding_assets_tests.faults.process import Fault, Planned, Process, run_as
from embedding_assets_tests.schedules.plain_index import FILE, PlainWriter
from embedding_assets_tests.schedules.yard import LEASE_SECONDS, POINTER_WRITE, Yard

LOCK_WRITE = CallSite("memory", "update_item", "LOCK#lines/LOCK")
PURPOSE = "20260102T120000Z-0000beef"


def quiet(line: str) -> None:
    """Tell nobody."""


def lock(yard: Yard, **options: Any) -> MergeLock:
    """The lock of lines; its clock is the yard's."""
    known = {"lease_seconds": LEASE_SECONDS, "epoch_floor": lambda: 0, "max_wait_seconds": 30.0}
    return MergeLock(yard.ledger.client, yard.ledger.table, "lines", execution_id=PURPOSE, **{**known, **options})


def published(yard: Yard, *seeds: dict[str, int]) -> list[str]:
    """A version for each batch, oldest first."""
    for number, records in enumerate(seeds, 1):
        yard.arrive(f"b{number}", records, number)
        yard.everything()
    return versions(yard)[::-1]


def versions(yard: Yard) -> list[str]:
    """The chain, newest first."""
    return [one.version for one in chain(yard.store, LINES, current(yard))]


def current(yard: Yard) -> VersionManifest:
    """The published version."""
    pointer = read_pointer(yard.store, LINES)
    assert pointer is not None
    return pointer.manifest


def paused(yard: Yard, site: CallSite, work: Callable[[], object], meanwhile: Callable[[], object]) -> None:
    """Do `work`, which is paused before its first call at `site` while others do `meanwhile`."""
    process = Process(Planned(site, Fault.PAUSED), while_paused=lambda: yard.quietly(meanwhile))
    yard.run(process, work)
    assert process.struck, "the story did not come to its point"


def hand_made(yard: Yard, epoch: int, **changes: Any) -> VersionManifest:
    """A next version as a merge would make it, with nothing new in it."""
    now = current(yard)
    known = {"version": new_version(epoch), "parent": now.version, "epoch": epoch, "fence": epoch, "batches": ()}
    return now.model_copy(update={**known, "commit_id": f"commit-{epoch}", **changes})


# The lock


def two_take_a_free_lock(yard: Yard) -> None:
    """One of them gets it."""
    with lock(yard):
        pass
    second = lock(yard)
    got: list[int] = []

    def first() -> None:
        taken = lock(yard)
        taken._acquire()
        got.append(taken.epoch)

    def meanwhile() -> None:
        second._acquire()
        got.append(second.epoch)

    paused(yard, LOCK_WRITE, first, meanwhile)
    assert len(set(got)) == len(got), "two have the same epoch"


def two_take_the_very_first_lock(yard: Yard) -> None:
    """As above, if there is no item yet."""
    second = lock(yard)
    got: list[int] = []

    def first() -> None:
        taken = lock(yard)
        taken._acquire()
        got.append(taken.epoch)

    def meanwhile() -> None:
        second._acquire()
        got.append(second.epoch)

    paused(yard, LOCK_WRITE, first, meanwhile)
    assert len(set(got)) == len(got), "two have the same epoch"


def a_former_holder_renews(yard: Yard) -> None:
    """It must not steal the lock back."""
    former = lock(yard)
    former._acquire()
    with lock(yard) as holder:
        assert not former._renew()
        holder.check()


def a_former_holder_releases(yard: Yard) -> None:
    """It must not release what is another's."""
    former = lock(yard)
    former._acquire()
    with lock(yard):
        former._release()
        with pytest.raises(LockError):
            lock(yard, max_wait_seconds=0.0)._acquire()


def a_living_holder_is_waited_for(yard: Yard) -> None:
    """Its record version changes within each lease: it is never taken over."""
    holder = lock(yard)
    holder._acquire()
    sleep = yard.time.sleep

    def renewing(seconds: float) -> None:
        sleep(seconds)
        holder._renew()

    yard.time.sleep = renewing  # type: ignore[method-assign]
    try:
        with pytest.raises(LockError, match="held by another"):
            lock(yard, max_wait_seconds=5 * LEASE_SECONDS)._acquire()
    finally:
        yard.time.sleep = sleep  # type: ignore[method-assign]


def a_whole_lease_must_pass(yard: Yard) -> None:
    """A holder that said nothing for less than its lease has the lock."""
    lock(yard)._acquire()
    with pytest.raises(LockError, match="held by another"):
        lock(yard, max_wait_seconds=0.9 * LEASE_SECONDS)._acquire()


def the_table_was_restored(yard: Yard) -> None:
    """The lock knows a smaller epoch than the pointer: the next merge publishes all the same."""
    published(yard, {"r1": 1}, {"r2": 2}, {"r3": 3})
    yard.dynamodb.delete_item(TableName="", Key={"PK": {"S": "LOCK#lines"}, "SK": {"S": "LOCK"}})
    yard.arrive("late", {"r4": 4}, 9)
    yard.drain()


def a_lost_lock_is_noticed(yard: Yard) -> None:
    """By the heartbeat, and told at the next check, before its lease is over by its own clock."""
    former = lock(yard)
    former._acquire()
    yard.time.sleep(0.4 * LEASE_SECONDS)
    stolen = lock(yard, lease_seconds=0.0)
    assert stolen._take(stolen._read())
    former._keep()
    with pytest.raises(LockError):
        former.check()


# Publishing


def a_paused_holder_wakes_up_after_another_died(yard: Yard) -> None:
    """Whoever took over wrote its fence and died: the former holder cannot publish, whatever it believes."""
    before = published(yard, {"r1": 1})
    yard.arrive("late", {"r2": 2}, 5)

    def takes_over_and_dies() -> None:
        with yard.publisher.publication_lock(PURPOSE):
            raise LockError("died")

    paused(yard, POINTER_WRITE, lambda: yard.merge(yard.live()), takes_over_and_dies)
    assert versions(yard) == before
    yard.drain()


def another_publishes_while_one_is_about_to(yard: Yard) -> None:
    """The condition on the pointer: nobody's version is lost."""
    published(yard, {"r1": 1})
    yard.arrive("late", {"r2": 2}, 5)

    def without_a_lock() -> None:
        pointer = read_pointer(yard.store, LINES)
        commit(yard.store, LINES, hand_made(yard, current(yard).epoch), pointer)

    before = current(yard).version
    paused(yard, POINTER_WRITE, lambda: yard.merge(yard.live()), without_a_lock)
    found = versions(yard)
    assert found[0] != before
    assert len(found) == 3, "a published version is no more in the chain"


def two_publish_the_first_version(yard: Yard) -> None:
    """The one that comes second builds on the other."""
    yard.arrive("one", {"r1": 1}, 1)
    one = yard.live()
    yard.arrive("two", {"r2": 2}, 2)
    two = [row for row in yard.live() if row not in one]
    paused(yard, POINTER_WRITE, lambda: yard.merge(one), lambda: yard.merge(two))
    yard.drain()


def the_answer_of_a_commit_is_lost(yard: Yard) -> None:
    """It is recognised by its commit id: neither an error nor a second version."""
    published(yard, {"r1": 1})
    pointer = read_pointer(yard.store, LINES)
    process = Process(Planned(POINTER_WRITE, Fault.ANSWER_LOST))
    made = hand_made(yard, 5)
    run_as(process, lambda: _expect_no_conflict(lambda: commit(yard.store, LINES, made, pointer)))
    assert process.struck
    assert current(yard).version == made.version


def the_answer_is_lost_and_another_has_built_on_it(yard: Yard) -> None:
    """It is found in the chain, not only in the pointer."""
    published(yard, {"r1": 1})
    pointer = read_pointer(yard.store, LINES)
    made = hand_made(yard, 5)
    lost = [True]
    replace = yard.store.replace

    def loses_its_answer(key: str, data: bytes, etag: str) -> None:
        replace(key, data, etag)
        if lost:
            lost.clear()
            commit(yard.store, LINES, hand_made(yard, 5, commit_id="on top"), read_pointer(yard.store, LINES))
            raise TransientError("no answer")

    yard.store.replace = loses_its_answer  # type: ignore[method-assign]
    _expect_no_conflict(lambda: commit(yard.store, LINES, made, pointer))
    assert versions(yard)[1] == made.version


def a_smaller_epoch_commits(yard: Yard) -> None:
    """Never over a greater epoch, also with the right ETag."""
    published(yard, {"r1": 1})
    pointer = read_pointer(yard.store, LINES)
    assert pointer is not None
    fenced = fence(yard.store, LINES, pointer, 9)
    with pytest.raises(LockError):
        commit(yard.store, LINES, hand_made(yard, 8), fenced)


def a_smaller_epoch_fences(yard: Yard) -> None:
    """A fence never goes back."""
    published(yard, {"r1": 1})
    pointer = read_pointer(yard.store, LINES)
    assert pointer is not None
    fenced = fence(yard.store, LINES, pointer, 9)
    with pytest.raises(LockError):
        fence(yard.store, LINES, fenced, 8)


def a_versions_name_is_taken(yard: Yard) -> None:
    """A version's manifest is never rewritten."""
    published(yard, {"r1": 1})
    made = hand_made(yard, 5)
    key = version_prefix(LINES, made.version) + MANIFEST
    yard.store.put(key, b"another's")
    with pytest.raises(PreconditionError):
        commit(yard.store, LINES, made, read_pointer(yard.store, LINES))
    assert yard.store.get(key) == b"another's"


# Merging


def _damage(yard: Yard, key: str, change: Callable[[bytes], bytes]) -> None:
    yard.store.put(key, change(yard.store.get(key)))


def _key_of(yard: Yard, path: str) -> str:
    return next(file.key for file in current(yard).files if file.path == path)


def a_byte_of_a_version_flipped(yard: Yard) -> None:
    """A reader gets what was published, or an error."""
    published(yard, {"r1": 1})
    _damage(yard, _key_of(yard, FILE), lambda data: data.replace(b"text 1", b"text 9"))
    with tempfile.TemporaryDirectory() as folder, pytest.raises(DamagedError):
        pull(yard.store, current(yard), Path(folder) / "version")


def a_file_of_a_version_is_cut(yard: Yard) -> None:
    """Also the one that the next version is built on: nothing is published then."""
    before = published(yard, {"r1": 1})
    _damage(yard, _key_of(yard, "records.arrow"), lambda data: data[:-1])
    yard.arrive("late", {"r2": 2}, 5)
    with pytest.raises(DamagedError):
        yard.merge(yard.live())
    assert versions(yard) == before


def a_delta_is_longer_than_told(yard: Yard) -> None:
    """Rows and poll result must agree."""
    yard.arrive("b1", {"r1": 1, "r2": 2}, 1)
    result, _ = yard.polled[("b1", 0)]
    told = result.model_copy(update={"embedding_count": 1, "results_count": 1})
    merger = IntermediateMerger(yard.store, LINES, "arrow")
    with pytest.raises(ConservationError):
        merger.merge_chunk(split_chunks(PURPOSE, [told], 2)[0])


def a_chunk_gets_lost(yard: Yard) -> None:
    """What was polled must have come into chunks."""
    for number in range(3):
        yard.arrive(f"b{number}", {f"r{number}": number}, number)
    yard.forget_last_chunk = True
    with pytest.raises(ConservationError):
        yard.merge(yard.live())


def the_writer_loses_a_record(yard: Yard) -> None:
    """What was built is compared with what was merged before anybody sees it."""
    yard.arrive("b1", {"r1": 1, "r2": 2}, 1)
    with pytest.MonkeyPatch.context() as patch:
        add = PlainWriter.add

        def losing(writer: PlainWriter, rows: Any) -> None:
            add(writer, rows)
            writer.delete(["r1"])

        patch.setattr(PlainWriter, "add", losing)
        with pytest.raises(DamagedError):
            yard.merge(yard.live())


def an_earlier_submission_comes_later(yard: Yard) -> None:
    """The later submission stays."""
    yard.arrive("late", {"r1": 2}, 9)
    yard.everything()
    yard.arrive("early", {"r1": 1}, 1)
    yard.everything()
    yard.drain()


def intermediates_were_written_over(yard: Yard) -> None:
    """By another run of the execution: what was counted is not what lies there."""
    yard.arrive("b1", {"r1": 1}, 1)
    yard.arrive("b2", {"r1": 2}, 2)
    yard.swap_intermediates = True
    with pytest.raises(TransientError):
        yard.merge(yard.live()[:1])


def a_withdrawn_batch_is_on_its_way(yard: Yard) -> None:
    """What a rollback took out comes back only by reprocess."""
    first = published(yard, {"r1": 1}, {"r2": 2})
    late = [yard.ledger.get("b2")]
    Rollback(yard.publisher).to(first[0], PURPOSE)
    with pytest.raises(WithdrawnError):
        yard.merge(late)
    yard.check()
    assert current(yard).withdrawn == ("b2",)


def another_dimension(yard: Yard) -> None:
    """Nothing of another dimension is merged into what is published."""
    published(yard, {"r1": 1})
    key = pointer_key(LINES)
    _damage(yard, key, lambda data: data.replace(b'"dimensions": 8', b'"dimensions": 9'))
    yard.arrive("late", {"r2": 2}, 5)
    with pytest.raises(MismatchError):
        yard.merge(yard.live())


# Marking


def a_batch_is_finished_by_hand_while_it_is_marked(yard: Yard) -> None:
    """Only a live row is marked."""
    yard.arrive("b1", {"r1": 1}, 1)
    yard.merge(yard.live())
    site = CallSite("memory", "update_item", "BATCH#b1/STATUS")
    paused(yard, site, yard.mark, lambda: yard.ledger.reset(yard.ledger.get("b1"), Status.FAILED))
    assert yard.ledger.get("b1").status is Status.FAILED


def a_batch_is_opened_again_while_it_is_marked(yard: Yard) -> None:
    """Only the generation that was published is marked."""
    yard.arrive("b1", {"r1": 1}, 1)
    yard.merge(yard.live())

    def opened_again() -> None:
        mark_published(yard.store, yard.ledger, LINES)
        yard.reprocess("b1")

    site = CallSite("memory", "update_item", "BATCH#b1/STATUS")
    paused(yard, site, yard.mark, opened_again)
    row = yard.ledger.get("b1")
    assert (row.generation, row.status) == (1, Status.PENDING)


# Sweeping


def a_rollback_overtakes_a_gc(yard: Yard) -> None:
    """The gc has told in the pointer what it is about to delete."""
    found = published(yard, {"r1": 1}, {"r2": 2}, {"r3": 3})
    rollback = Rollback(yard.publisher)
    site = CallSite("memory", "delete_objects", "")
    paused(yard, site, lambda: yard.gc(1), lambda: rollback.to(found[0], PURPOSE))
    yard.check()


def a_version_names_an_older_ones_files(yard: Yard) -> None:
    """Those stay, although their version is not kept."""
    published(yard, {"r1": 1}, {"r2": 2}, {"r3": 3})
    yard.rollback(2)
    yard.gc(1)
    yard.check()


def a_later_epoch_is_writing(yard: Yard) -> None:
    """A gc leaves alone what a merge after it has uploaded and not yet published."""
    published(yard, {"r1": 1})
    prefix = version_prefix(LINES, new_version(9))
    yard.store.put(f"{prefix}records.arrow", b"uploaded already")
    listed = list(yard.store.list(versions_prefix(LINES)))
    now = datetime.now(UTC) + timedelta(days=1)
    assert unpublished([current(yard)], listed, LINES, 9, timedelta(0), now) == []


def an_upload_is_young(yard: Yard) -> None:
    """What a merge left unpublished may be of one that still goes on: nothing young is swept."""
    published(yard, {"r1": 1})
    prefix = version_prefix(LINES, new_version(0))
    yard.store.put(f"{prefix}records.arrow", b"uploaded already")
    yard.gc(1, timedelta(hours=1))
    assert list(yard.store.list(prefix))


def a_version_manifest_is_asked_for_again(yard: Yard) -> None:
    """A chain is never broken by a gc."""
    published(yard, {"r1": 1}, {"r2": 2}, {"r3": 3})
    yard.gc(1)
    assert len(versions(yard)) == 3


def a_version_was_current_a_moment_ago(yard: Yard) -> None:
    """Readers may still be at it: nothing young is swept."""
    found = published(yard, {"r1": 1}, {"r2": 2})
    yard.s3.ages = timedelta(days=1)
    yard.gc(1, timedelta(hours=1))
    assert list(yard.store.list(f"{version_prefix(LINES, found[0])}{FILE}"))


def a_delta_is_needed_again(yard: Yard) -> None:
    """Those of withdrawn batches are all that is left of them."""
    published(yard, {"r1": 1}, {"r2": 2})
    yard.rollback(1)
    yard.gc(1)
    result, _ = yard.polled[("b2", 0)]
    assert result.delta_key is not None
    assert list(yard.store.list(result.delta_key))


def a_swept_version_is_asked_for(yard: Yard) -> None:
    """Whole or not at all: what a gc began to sweep is not published again."""
    found = published(yard, {"r1": 1}, {"r2": 2})
    yard.gc(1)
    with pytest.raises((DamagedError, InputError)):
        Rollback(yard.publisher).to(found[0], PURPOSE)
    yard.check()


def _expect_no_conflict(work: Callable[[], object]) -> None:
    try:
        work()
    except PreconditionError as error:
        raise AssertionError(f"taken for a conflict: {error}") from error
