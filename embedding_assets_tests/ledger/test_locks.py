"""The lock: one holder at a time, taken over only when certainly dead, with an epoch that only grows."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import ClientError, EndpointConnectionError

from embedding_assets.errors import LockError, TransientError
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.ledger.locks import MergeLock

LEASE = 0.8


def lock(ledger: Ledger, name: str = "execution", **options: Any) -> MergeLock:
    defaults: dict[str, Any] = {"lease_seconds": LEASE, "epoch_floor": lambda: 0, "max_wait_seconds": 20.0}
    client = options.pop("client", ledger.client)
    database = options.pop("database", "lines")
    return MergeLock(client, ledger.table, database, execution_id=name, **{**defaults, **options})


def item(ledger: Ledger, database: str = "lines") -> dict[str, Any]:
    found = ledger.client.get_item(
        TableName=ledger.table, Key={"PK": {"S": f"LOCK#{database}"}, "SK": {"S": "LOCK"}}, ConsistentRead=True
    ).get("Item", {})
    return {name: TypeDeserializer().deserialize(value) for name, value in found.items()}


@contextmanager
def dead_holder(ledger: Ledger, **options: Any) -> Iterator[MergeLock]:
    """A holder that neither renews nor releases: as after kill -9."""
    dead = lock(ledger, "dead", **options)
    dead._acquire()
    yield dead


def test_the_item_is_the_contracts(ledger: Ledger) -> None:
    """Owner, epoch, record version, lease and execution; release takes the owner and keeps the item."""
    with lock(ledger, "execution-7") as held:
        stored = item(ledger)
        assert stored.keys() == {
            "PK",
            "SK",
            "owner",
            "epoch",
            "record_version",
            "lease_seconds",
            "execution_id",
        }
        assert (stored["PK"], stored["SK"]) == ("LOCK#lines", "LOCK")
        assert (stored["epoch"], stored["execution_id"], held.epoch) == (1, "execution-7", 1)
        assert float(stored["lease_seconds"]) == LEASE
        assert not held.taken_over
        held.check()
    released = item(ledger)
    assert "owner" not in released
    assert released["epoch"] == 1
    assert released["record_version"] != stored["record_version"]


def test_of_many_one_holds_it(ledger: Ledger) -> None:
    """Six threads, each holding it for a while: never two at once, all get it, every epoch once."""
    inside = threading.Lock()
    overlaps: list[str] = []
    epochs: list[int] = []

    def work(number: int) -> None:
        with lock(ledger, f"execution-{number}") as held:
            if not inside.acquire(blocking=False):
                overlaps.append(f"execution-{number}")
                return
            time.sleep(0.05)
            held.check()
            epochs.append(held.epoch)
            inside.release()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert overlaps == []
    assert epochs == [1, 2, 3, 4, 5, 6]


def test_databases_do_not_wait_for_each_other(ledger: Ledger) -> None:
    """The lock is named by the database, and by it alone."""
    with lock(ledger) as lines, lock(ledger, database="words", max_wait_seconds=0.0) as words:
        assert (lines.epoch, words.epoch) == (1, 1)


def test_a_released_lock_is_taken_at_once(ledger: Ledger) -> None:
    """Nobody waits for a lease that was given back; that is no takeover."""
    with lock(ledger, lease_seconds=60.0):
        pass
    started = time.monotonic()
    with lock(ledger) as held:
        assert time.monotonic() - started < 5
        assert (held.epoch, held.taken_over) == (2, False)


def test_a_lock_is_released_when_the_work_fails(ledger: Ledger) -> None:
    """An error inside leaves no lock behind."""
    with pytest.raises(ValueError, match="work"), lock(ledger, lease_seconds=60.0):
        raise ValueError("work")
    with lock(ledger) as held:
        assert not held.taken_over


def test_a_dead_holder_is_taken_over_after_a_whole_lease(ledger: Ledger) -> None:
    """Not a moment earlier than a lease after the first look; and it is told, so that the pointer gets fenced."""
    with dead_holder(ledger) as dead:
        waited = time.monotonic()
        with lock(ledger) as held:
            assert time.monotonic() - waited >= LEASE
            assert (held.epoch, held.taken_over) == (2, True)
            with pytest.raises(LockError, match="lines"):
                dead.check()


def test_the_holders_lease_counts_not_ones_own(ledger: Ledger) -> None:
    """Another machine with a shorter lease in its settings must not steal from one with a longer."""
    with dead_holder(ledger, lease_seconds=1.5):
        waited = time.monotonic()
        with lock(ledger, lease_seconds=0.2) as held:
            assert time.monotonic() - waited >= 1.5
            assert held.taken_over


def test_the_heartbeat_keeps_the_lock(ledger: Ledger) -> None:
    """Held for several leases: it is never lost, and nobody else gets it."""
    with lock(ledger) as held:
        versions = set()
        until = time.monotonic() + 3 * LEASE
        with pytest.raises(LockError, match="held by another"):
            lock(ledger, "waiting", max_wait_seconds=2 * LEASE)._acquire()
        while time.monotonic() < until:
            held.check()
            versions.add(item(ledger)["record_version"])
            time.sleep(0.05)
        assert len(versions) >= 3
        assert item(ledger)["epoch"] == 1


def test_who_waits_says_so(ledger: Ledger) -> None:
    """A line now and then, with the database's name."""
    told: list[str] = []
    with lock(ledger), pytest.raises(LockError):
        lock(ledger, "waiting", max_wait_seconds=2.5 * LEASE, on_wait=told.append)._acquire()
    assert told
    assert all("lines" in line for line in told)


@pytest.mark.parametrize(("floor", "epoch"), [(0, 1), (41, 42)])
def test_the_epoch_grows_over_the_pointers(ledger: Ledger, floor: int, epoch: int) -> None:
    """A table that was lost or restored knows a smaller epoch than the pointer."""
    with lock(ledger, epoch_floor=lambda: floor) as held:
        assert held.epoch == epoch
    with lock(ledger) as held:
        assert held.epoch == epoch + 1
    with lock(ledger, epoch_floor=lambda: 5) as held:
        assert held.epoch == max(epoch + 2, 6)


def test_a_lock_that_was_taken_away_is_noticed(ledger: Ledger) -> None:
    """Another one is owner by now: within a heartbeat check raises, and release leaves the other's item alone."""
    with lock(ledger) as held:
        held.check()
        ledger.client.update_item(
            TableName=ledger.table,
            Key={"PK": {"S": "LOCK#lines"}, "SK": {"S": "LOCK"}},
            UpdateExpression="SET #owner = :owner, record_version = :version, epoch = :epoch",
            ExpressionAttributeNames={"#owner": "owner"},
            ExpressionAttributeValues={":owner": {"S": "thief"}, ":version": {"S": "v"}, ":epoch": {"N": "9"}},
        )
        time.sleep(LEASE)
        with pytest.raises(LockError, match=r"taken|took"):
            held.check()
    assert (item(ledger)["owner"], item(ledger)["record_version"], item(ledger)["epoch"]) == ("thief", "v", 9)


class Cut:
    """A DynamoDB client whose connection can be cut."""

    def __init__(self, ledger: Ledger) -> None:
        self._client = ledger.client
        self.cut = False
        self.lose_answers = 0

    def get_item(self, **request: Any) -> Any:
        self._reachable()
        return self._client.get_item(**request)

    def update_item(self, **request: Any) -> Any:
        self._reachable()
        answer = self._client.update_item(**request)
        if self.lose_answers:
            self.lose_answers -= 1
            self._fail()
        return answer

    def _reachable(self) -> None:
        if self.cut:
            self._fail()

    def _fail(self) -> None:
        raise EndpointConnectionError(endpoint_url="http://dynamodb")


def test_a_holder_that_cannot_renew_stops_in_time(ledger: Ledger) -> None:
    """Cut off from the table: by its own clock the lease is over before another may take the lock."""
    client = Cut(ledger)
    with lock(ledger, client=cast(Any, client)) as held:
        client.cut = True
        time.sleep(1.4 * LEASE)
        with pytest.raises(LockError, match="ran out"):
            held.check()


def test_a_short_outage_loses_nothing(ledger: Ledger) -> None:
    """One heartbeat missed: the next one renews."""
    client = Cut(ledger)
    with lock(ledger, client=cast(Any, client)) as held:
        client.cut = True
        time.sleep(0.4 * LEASE)
        client.cut = False
        time.sleep(1.2 * LEASE)
        held.check()
        assert item(ledger)["epoch"] == 1


def test_a_heartbeat_whose_answer_is_lost_loses_nothing(ledger: Ledger) -> None:
    """The renewal was applied, its answer never came: the lock is still ours and must not count as lost."""
    client = Cut(ledger)
    with lock(ledger, client=cast(Any, client)) as held:
        client.lose_answers = 1
        time.sleep(1.5 * LEASE)
        held.check()
        assert item(ledger)["owner"] == held._owner


def test_the_lease_is_measured_by_ones_own_clock(ledger: Ledger) -> None:
    """The moment the renewal was sent counts, not the one at which its answer came."""
    now = [100.0]
    client = Cut(ledger)
    held = lock(ledger, lease_seconds=10.0, clock=lambda: now[0], client=cast(Any, client))
    held._acquire()
    client.cut = True
    now[0] = 110.0
    held.check()
    now[0] = 110.1
    with pytest.raises(LockError, match="ran out"):
        held.check()


def test_a_lease_that_ran_out_is_still_ours_if_nobody_took_it(ledger: Ledger) -> None:
    """Chroma kept the interpreter for longer than a lease: the renewal's own condition says who has the lock."""
    now = [100.0]
    held = lock(ledger, lease_seconds=0.5, clock=lambda: now[0])
    held._acquire()
    now[0] = 150.0
    held.check()
    now[0] = 159.0
    with lock(ledger, lease_seconds=0.1) as other:
        assert other.taken_over
        with pytest.raises(LockError, match="took it over"):
            held.check()


def test_a_lease_that_is_half_over_is_renewed_by_the_check(ledger: Ledger) -> None:
    """Where the heartbeat starves, the work itself keeps the lock: others see a new record version."""
    now = [100.0]
    held = lock(ledger, lease_seconds=10.0, clock=lambda: now[0])
    held._acquire()
    before = item(ledger)["record_version"]
    now[0] = 104.9
    held.check()
    assert item(ledger)["record_version"] == before
    now[0] = 105.1
    held.check()
    assert item(ledger)["record_version"] != before


MALFORMED: dict[str, dict[str, Any]] = {
    "no record version": {"owner": {"S": "x"}, "epoch": {"N": "7"}, "lease_seconds": {"N": "60"}},
    "record version of another type": {"owner": {"S": "x"}, "record_version": {"N": "1"}, "epoch": {"N": "7"}},
    "epoch as a text": {"owner": {"S": "x"}, "record_version": {"S": "v"}, "epoch": {"S": "7"}},
    "lease as a text": {
        "owner": {"S": "x"},
        "record_version": {"S": "v"},
        "epoch": {"N": "7"},
        "lease_seconds": {"S": "60"},
    },
    "negative lease": {
        "owner": {"S": "x"},
        "record_version": {"S": "v"},
        "epoch": {"N": "7"},
        "lease_seconds": {"N": "-1"},
    },
    "owner of another type": {"owner": {"M": {}}, "record_version": {"S": "v"}, "epoch": {"N": "7"}},
    "owner that is null": {"owner": {"NULL": True}, "record_version": {"S": "v"}, "epoch": {"N": "7"}},
}


@pytest.mark.parametrize("attributes", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_row_is_not_held(ledger: Ledger, attributes: dict[str, Any]) -> None:
    """It is taken at once, by one; its holder may be alive, so the pointer must be fenced."""
    ledger.client.put_item(
        TableName=ledger.table, Item={"PK": {"S": "LOCK#lines"}, "SK": {"S": "LOCK"}, **attributes}
    )
    first, second = lock(ledger, max_wait_seconds=0.0), lock(ledger)
    seen = second._read()
    with first:
        assert (first.epoch, first.taken_over) == (8, True)
        assert not second._take(seen)
        first.check()
    assert item(ledger)["epoch"] == 8


def test_an_epoch_that_is_no_number(ledger: Ledger) -> None:
    """Then the pointer alone says which epochs there were."""
    bad = {"owner": {"S": "x"}, "record_version": {"S": "v"}, "epoch": {"S": "many"}}
    ledger.client.put_item(TableName=ledger.table, Item={"PK": {"S": "LOCK#lines"}, "SK": {"S": "LOCK"}, **bad})
    with lock(ledger, max_wait_seconds=0.0, epoch_floor=lambda: 41) as held:
        assert held.epoch == 42


class Refusing(Cut):
    """A client for which the service refuses to write."""

    def update_item(self, **request: Any) -> Any:
        if self.cut:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "UpdateItem")
        return super().update_item(**request)

    def _reachable(self) -> None:
        return


def test_a_release_that_is_refused_is_reported(ledger: Ledger) -> None:
    """The work is done; the lease runs out by itself."""
    told: list[str] = []
    client = Refusing(ledger)
    with lock(ledger, client=cast(Any, client), lease_seconds=60.0, on_wait=told.append):
        client.cut = True
    (line,) = told
    assert line.startswith("warning: the lock of lines was not released")
    assert "AccessDeniedException" in line
    assert "owner" in item(ledger)


def test_a_release_that_is_refused_hides_no_error(ledger: Ledger) -> None:
    """Why the work failed is what is raised."""
    client = Refusing(ledger)

    def work() -> None:
        with lock(ledger, client=cast(Any, client), lease_seconds=60.0):
            client.cut = True
            raise ValueError("work")

    with pytest.raises(ValueError, match="work"):
        work()


def test_what_is_published_is_noted(ledger: Ledger) -> None:
    """At once; the release and the next holder keep it."""
    with lock(ledger) as held:
        held.note_published("1-0123456789ab")
        assert item(ledger)["published"] == "1-0123456789ab"
    assert item(ledger)["published"] == "1-0123456789ab"
    with lock(ledger):
        assert item(ledger)["published"] == "1-0123456789ab"


def test_a_note_that_could_not_be_written_comes_with_the_release(ledger: Ledger) -> None:
    """A moment without the network loses no note."""
    told: list[str] = []
    client = Cut(ledger)
    with lock(ledger, client=cast(Any, client), lease_seconds=60.0, on_wait=told.append) as held:
        client.cut = True
        held.note_published("1-0123456789ab")
        client.cut = False
        assert "published" not in item(ledger)
    assert item(ledger)["published"] == "1-0123456789ab"
    assert [line.startswith("warning: the lock of lines: 1-0123456789ab is not noted yet") for line in told] == [
        True
    ]


def test_a_renewal_goes_through_its_own_client(ledger: Ledger) -> None:
    """Taking the lock by the ledger's client, keeping and releasing it by the one with short timeouts."""
    own = Cut(ledger)
    own.cut = True
    taken = lock(ledger, client=ledger.client, renewing=cast(Any, own))
    taken._acquire()
    with pytest.raises(TransientError):
        taken._keep()
    own.cut = False
    taken._keep()
    taken._release()
    assert "owner" not in item(ledger)


def test_the_client_that_renews_gives_up_well_before_the_lease_is_over() -> None:
    """Not after the minute, six times, that a table has to answer otherwise."""
    ledger = Ledger("table")
    client: Any = ledger.renewing_client(60.0)
    config = client.meta.config
    assert config.retries["total_max_attempts"] == 1
    assert config.connect_timeout + config.read_timeout < 60 / 4
    assert client is ledger.renewing_client(60.0)
    usual: Any = ledger.client
    assert usual.meta.config.read_timeout == 60
