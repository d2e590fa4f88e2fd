"""What each guard of a lost pointer is for, as a story that goes wrong without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from embedding_assets.bucket.keys import pointer_key, version_prefix, versions_prefix
from embedding_assets.databases import LINES
from embedding_assets.errors import DamagedVersionError, LostPointerError
from embedding_assets.rows.snapshot_directory import MANIFEST
from embedding_assets.versions.manifest import read_pointer
from embedding_assets.versions.publish import commit
from embedding_assets_tests.faults.call_sites import CallSite
from embedding_assets_tests.faults.process import Fault, Planned, Process
from embedding_assets_tests.schedules.scenarios import (
    PURPOSE,
    current,
    hand_made,
    lock,
    paused,
    published,
    versions,
)
from embedding_assets_tests.schedules.yard import POINTER_WRITE, Yard, refuse

BOOKMARK_WRITE = CallSite("memory", "put_item", "")


def _refused(yard: Yard, version: str, *works: Callable[[], object]) -> None:
    """Everybody stops with a line that names the version and the remedy; nothing changes."""
    before = dict(yard.s3._objects)
    rows = [item for item in yard.dynamodb.items() if item["SK"]["S"] == "STATUS"]
    pointer = read_pointer(yard.store, LINES)
    for work in works or (lambda: yard.merge(yard.live()), yard.mark):
        with pytest.raises(LostPointerError, match=rf"version {version} .*snapshots repair lines"):
            work()
    after = yard.s3._objects
    there = read_pointer(yard.store, LINES)
    assert (there and there.manifest.version) == (pointer and pointer.manifest.version)
    assert [key for key in after.keys() - before.keys() if key.startswith(versions_prefix(LINES))] == []
    assert before.keys() <= after.keys(), "something was deleted"
    assert [item for item in yard.dynamodb.items() if item["SK"]["S"] == "STATUS"] == rows


def _repaired(yard: Yard, *chain: str) -> None:
    """What was lost is there again, and everything goes on."""
    done = yard.repair()
    assert (done.repaired, done.version) == (True, chain[-1])
    assert versions(yard) == list(chain)[::-1]
    yard.check()
    yard.drain()
    assert not yard.repair().repaired


def the_pointer_is_deleted(yard: Yard) -> None:
    """Nobody begins a new chain."""
    chain = published(yard, {"r1": 1}, {"r2": 2})
    yard.arrive("late", {"r3": 3}, 9)
    yard.lose_pointer()
    _refused(yard, chain[-1])
    _repaired(yard, *chain)


def the_pointer_is_put_back(yard: Yard) -> None:
    """Nobody builds on, marks from, rolls back from, or sweeps by an older one."""
    chain = published(yard, {"r1": 1}, {"r2": 2}, {"r3": 3})
    yard.arrive("late", {"r4": 4}, 9)
    yard.lose_pointer(1)
    assert versions(yard) == chain[1::-1]
    everybody = (
        lambda: yard.merge(yard.live()),
        yard.mark,
        lambda: yard.rollback(1),
        lambda: yard.gc(1),
    )
    _refused(yard, chain[-1], *everybody)
    _repaired(yard, *chain)


def it_is_put_back_before_anybody_marked(yard: Yard) -> None:
    """The lock's item knows what was published."""
    chain = published(yard, {"r1": 1})
    yard.arrive("two", {"r2": 2}, 2)
    yard.merge(yard.live())
    chain.append(current(yard).version)
    yard.lose_pointer(1)
    _refused(yard, chain[-1])
    _repaired(yard, *chain)


def _published_by_one_who_died(yard: Yard) -> str:
    """A version whose publisher did not come to anything after the commit."""
    yard.arrive("two", {"r2": 2}, 2)
    process = Process(Planned(POINTER_WRITE, Fault.CRASH_AFTER))
    yard.run(process, lambda: yard.merge(yard.live()))
    assert process.struck
    return current(yard).version


def its_publisher_died_and_another_looked(yard: Yard) -> None:
    """Whoever gets the lock notes what it finds published, before it does anything else."""
    chain = published(yard, {"r1": 1})
    chain.append(_published_by_one_who_died(yard))
    with yard.publisher.publication_lock(PURPOSE):
        pass
    yard.lose_pointer(2)
    _refused(yard, chain[-1])
    _repaired(yard, *chain)


def its_publisher_died_and_so_did_the_marker(yard: Yard) -> None:
    """The table knew the version before the first of its rows was marked."""
    chain = published(yard, {"r1": 1})
    chain.append(_published_by_one_who_died(yard))
    process = Process(Planned(BOOKMARK_WRITE, Fault.CRASH_BEFORE))
    yard.run(process, yard.mark)
    assert process.struck
    assert not yard.ledger.get("two").status.live
    yard.arrive("late", {"r9": 9}, 9)
    yard.lose_pointer(1)
    _refused(yard, chain[-1])
    _repaired(yard, *chain)


def nobody_knew_of_it(yard: Yard) -> None:
    """The limit: its publisher died, nobody came by, and the pointer is put back. Then it is published again."""
    chain = published(yard, {"r1": 1})
    _published_by_one_who_died(yard)
    yard.lose_pointer(1)
    assert versions(yard) == chain
    yard.drain()
    assert versions(yard)[-1] == chain[0]


def an_older_table_stops_nobody(yard: Yard) -> None:
    """A backup knows older versions of the chain."""
    published(yard, {"r1": 1})
    items = yard.dynamodb.items()
    yard.arrive("b2", {"r2": 2}, 2)
    yard.everything()
    for item in items:
        yard.dynamodb.put_item(TableName="", Item=item)
    yard.check()
    yard.arrive("late", {"r3": 3}, 9)
    yard.drain()


def _orphan(yard: Yard) -> str:
    """A merge that dies between its manifest and the pointer."""
    yard.arrive("late", {"r9": 9}, 9)
    before = current(yard).version
    process = Process(Planned(POINTER_WRITE, Fault.CRASH_BEFORE))
    yard.run(process, lambda: yard.merge(yard.live()))
    assert process.struck
    assert current(yard).version == before
    names = {entry.key.split("/")[3] for entry in yard.store.list(versions_prefix(LINES))}
    return next(iter(names - set(versions(yard))))


def a_manifest_proves_no_commit(yard: Yard) -> None:
    """What was never published is not put back either."""
    chain = published(yard, {"r1": 1}, {"r2": 2})
    orphan = _orphan(yard)
    yard.lose_pointer()
    assert yard.repair().version == chain[-1] != orphan
    _goes_on(yard, chain)


def a_receipt_proves_a_commit(yard: Yard) -> None:
    """An older table does not know the newest version; its receipt does."""
    chain = published(yard, {"r1": 1})
    items = yard.dynamodb.items()
    yard.arrive("b2", {"r2": 2}, 2)
    yard.everything()
    chain.append(current(yard).version)
    for item in items:
        yard.dynamodb.put_item(TableName="", Item=item)
    yard.lose_pointer()
    _repaired(yard, *chain)


def a_file_of_it_is_gone(yard: Yard) -> None:
    """Nothing is put back that nobody could read."""
    chain = published(yard, {"r1": 1}, {"r2": 2})
    file = current(yard).files[0]
    data = yard.store.get(file.key)
    yard.store.delete([file.key])
    yard.lose_pointer()
    with pytest.raises(DamagedVersionError, match=rf"{chain[-1]} .*{file.path} is missing"):
        yard.repair()
    assert read_pointer(yard.store, LINES) is None
    yard.store.put(file.key, data)
    _repaired(yard, *chain)


def a_former_holder_wakes_up_after_a_repair(yard: Yard) -> None:
    """It read the pointer before it was put back; what is there now has a fence of its own."""
    chain = published(yard, {"r1": 1}, {"r2": 2})
    yard.arrive("late", {"r9": 9}, 9)

    def lost_and_repaired() -> None:
        yard.lose_pointer()
        assert yard.repair().version == chain[-1]

    paused(yard, POINTER_WRITE, lambda: yard.merge(yard.live()), lost_and_repaired)
    assert versions(yard) == chain[::-1]
    _goes_on(yard, chain)


def a_former_holder_wakes_up_after_all_was_lost(yard: Yard) -> None:
    """Without the table only the versions say which epochs there were: the fence must be a new one."""
    chain = published(yard, {"r1": 1})
    yard.arrive("late", {"r9": 9}, 9)

    def lost_and_repaired() -> None:
        _lose_the_table(yard)
        yard.lose_pointer()
        assert yard.repair().version == chain[-1]

    paused(yard, POINTER_WRITE, lambda: yard.merge(yard.live()), lost_and_repaired)
    assert versions(yard) == chain[::-1]
    _goes_on(yard, chain)


def _lose_the_table(yard: Yard) -> None:
    for partition, sort in (("LOCK#lines", "LOCK"), ("MARKED#lines", "MARKED")):
        yard.dynamodb.delete_item(TableName="", Key={"PK": {"S": partition}, "SK": {"S": sort}})


def the_table_is_lost_with_the_pointer(yard: Yard) -> None:
    """The receipts remember; the epoch is above those of all versions, so the next merge can publish."""
    chain = published(yard, {"r1": 1}, {"r2": 2}, {"r3": 3})
    _lose_the_table(yard)
    yard.lose_pointer()
    yard.arrive("late", {"r9": 9}, 9)
    _refused(yard, chain[-1])
    _repaired(yard, *chain)


def somebody_writes_the_pointer_while_it_is_repaired(yard: Yard) -> None:
    """Exactly what was seen is replaced: then the repair looks again."""
    chain = published(yard, {"r1": 1}, {"r2": 2})
    yard.lose_pointer(1)
    key = version_prefix(LINES, chain[-1]) + MANIFEST
    put_back = yard.store.get(key)

    def by_hand() -> None:
        yard.s3.put_object(Bucket="", Key=pointer_key(LINES), Body=put_back)

    before = len(yard.epochs)
    paused(yard, POINTER_WRITE, yard.repair, by_hand)
    assert len(yard.epochs) == before, "a pointer that nobody had looked at was written over"
    _goes_on(yard, chain)


def a_lock_row_of_another_program(yard: Yard) -> None:
    """Without a record version nobody could see whether its holder is alive: it is not waited for."""
    yard.dynamodb.put_item(
        TableName="",
        Item={"PK": {"S": "LOCK#lines"}, "SK": {"S": "LOCK"}, "owner": {"S": "x"}, "epoch": {"N": "7"}},
    )
    with lock(yard, max_wait_seconds=0.0) as held:
        assert (held.epoch, held.taken_over) == (8, True)


def a_release_is_refused(yard: Yard) -> None:
    """What is published is published; the lease runs out by itself."""
    published(yard, {"r1": 1})
    yard.arrive("late", {"r2": 2}, 5)
    update_item = yard.dynamodb.update_item
    refused: list[str] = []

    def refusing(**request: Any) -> Any:
        if "REMOVE #owner" in request["UpdateExpression"]:
            refused.append(request["Key"]["PK"]["S"])
            refuse()
        return update_item(**request)

    yard.dynamodb.update_item = refusing  # type: ignore[method-assign]
    yard.merge(yard.live())
    yard.dynamodb.update_item = update_item  # type: ignore[method-assign]
    assert refused == ["LOCK#lines"]
    yard.drain()


def _goes_on(yard: Yard, chain: list[str]) -> None:
    yard.check()
    yard.drain()
    assert versions(yard)[-len(chain) :] == chain[::-1]


def a_smaller_epoch_repairs(yard: Yard) -> None:
    """A repair whose lock was lost writes nothing."""
    chain = published(yard, {"r1": 1}, {"r2": 2})
    yard.lose_pointer()

    def another_repairs_and_publishes() -> None:
        yard.repair()
        commit(yard.store, LINES, hand_made(yard, current(yard).fence), read_pointer(yard.store, LINES))

    paused(yard, POINTER_WRITE, yard.repair, another_repairs_and_publishes)
    assert len(versions(yard)) == len(chain) + 1, "a version was lost by a repair"
