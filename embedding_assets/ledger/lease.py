"""A lease: a right that one process holds at a time, renewed by a heartbeat, with an epoch that only grows.

Promise: at most one process believes itself holder within a lease; whoever was holder before can be recognized by
its smaller epoch. The lock alone does not protect the pointer: the conditional write on the pointer does.
Taken over only after `record_version` was seen unchanged for a whole lease on one's own monotonic clock.
Method: the AWS DynamoDB Lock Client's lease with a record version number.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from embedding_assets.bucket.aws import translated
from embedding_assets.errors import EmbeddingAssetsError, LockError, PreconditionError, TransientError
from embedding_assets.ledger.lease_row import LeaseRow, read_row, unchanged
from embedding_assets.processes.interruption import uninterrupted

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

HEARTBEATS_A_LEASE = 4
HURRIED_HEARTBEATS_A_LEASE = 16
"""After a renewal that failed and may succeed later."""
LOOKS_A_LEASE = 10
MAX_WAIT_SECONDS = 3600.0
"""How long a merge waits for another one that is alive."""

Clock = Callable[[], float]


class Lease:
    """Use as a context manager: entering waits for the lease, leaving releases it, the item stays.

    `name` is what messages call it; `purpose` is the item's `execution_id`, for those who wait. `taken_over` is
    true if the former holder had not released it: then it may still be alive. `renewing` is the client that
    renews and releases; its timeouts must be well below the lease. `on_wait` gets a line now and then while
    another holds it, and a warning if the release fails.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        key: tuple[str, str],
        *,
        name: str,
        purpose: str,
        lease_seconds: float,
        renewing: DynamoDBClient | None = None,
        epoch_floor: Callable[[], int] = lambda: 0,
        holder_is_gone: Callable[[str], bool] = lambda purpose: False,
        on_wait: Callable[[str], None] = lambda message: None,
        max_wait_seconds: float = MAX_WAIT_SECONDS,
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._renewing_client = renewing or client
        self._table = table
        self._partition, self._sort = key
        self._name = name
        self._purpose = purpose
        self._lease = lease_seconds
        self._floor = epoch_floor
        self._holder_is_gone = holder_is_gone
        self._on_wait = on_wait
        self._max_wait = max_wait_seconds
        self._clock = clock or time.monotonic
        self._owner = uuid.uuid4().hex
        self._record_version = ""
        self._renewed_at = 0.0
        self._stop = threading.Event()
        self._renewing = threading.Lock()
        self._heart: threading.Thread | None = None
        self._lost: str | None = None
        self._notes: dict[str, str] = {}
        self.epoch = 0
        self.taken_over = False

    def __enter__(self) -> Self:
        try:
            self._acquire()
            self._heart = threading.Thread(target=self._beat, name=f"lease-{self._partition}", daemon=True)
            self._heart.start()
        except BaseException:
            if self.epoch:
                with uninterrupted():
                    self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with uninterrupted():
            self._stop.set()
            if self._heart is not None:
                self._heart.join()
            self._release()

    def check(self) -> None:
        """Raise LockError unless the lease is certainly still ours, by our own clock.

        A lease that is half over is renewed here: work that keeps the interpreter to itself for seconds (Chroma
        building its graph) starves the heartbeat. One that ran out is still ours if the renewal succeeds: its
        condition says that nobody took the lock.
        """
        if self._lost is None and self._clock() - self._renewed_at > self._lease / 2:
            with suppress(TransientError):
                self._keep()
        if self._lost is not None:
            raise LockError(f"{self._name} was lost: {self._lost}")
        if self._clock() - self._renewed_at > self._lease:
            raise LockError(f"{self._name} was lost: its lease ran out before it was renewed")

    def _acquire(self) -> None:
        started = self._clock()
        last_report = started
        unchanged_since = started
        last: LeaseRow | None = None
        while True:
            seen = self._read()
            now = self._clock()
            if last is None or seen is None or seen.stamp != last.stamp:
                unchanged_since, last = now, seen
            free = seen is None or seen.is_free
            expired = seen is not None and (
                now - unchanged_since > seen.lease_seconds or self._holder_is_gone(seen.purpose)
            )
            if (free or expired) and self._take(seen):
                self.taken_over = seen is not None and not seen.was_released
                return
            if now - started > self._max_wait:
                raise LockError(f"{self._name} is held by another since {now - started:.0f} s")
            if now - last_report >= min(self._lease, 30.0):
                last_report = now
                self._on_wait(f"waiting for {self._name} since {now - started:.0f} s")
            time.sleep(min(seen.lease_seconds if seen else self._lease, self._lease) / LOOKS_A_LEASE)

    def _read(self, client: DynamoDBClient | None = None) -> LeaseRow | None:
        with translated(f"reading {self._name}"):
            item: Mapping[str, Any] | None = (
                (client or self._client)
                .get_item(TableName=self._table, Key=self._key, ConsistentRead=True)
                .get("Item")
            )
        return None if item is None else read_row(item, self._lease)

    def _take(self, seen: LeaseRow | None) -> bool:
        epoch = 1 + max(seen.epoch if seen else 0, self._floor())
        started = self._clock()
        condition, values = unchanged(seen)
        with uninterrupted():
            if not self._write(condition, values, epoch):
                return False
            self.epoch = epoch
            self._renewed_at = started
        return True

    def _write(self, condition: str, values: Mapping[str, Any], epoch: int) -> bool:
        version = uuid.uuid4().hex
        try:
            with translated(f"taking {self._name}"):
                self._client.update_item(
                    TableName=self._table,
                    Key=self._key,
                    UpdateExpression=(
                        "SET #owner = :owner, epoch = :epoch, record_version = :version, "
                        "lease_seconds = :lease, execution_id = :execution"
                    ),
                    ConditionExpression=condition,
                    ExpressionAttributeNames={"#owner": "owner"},
                    ExpressionAttributeValues={
                        ":owner": {"S": self._owner},
                        ":epoch": {"N": str(epoch)},
                        ":version": {"S": version},
                        ":lease": {"N": str(self._lease)},
                        ":execution": {"S": self._purpose},
                        **values,
                    },
                )
        except PreconditionError:
            if not self._ours(version, self._client):
                return False
        self._record_version = version
        return True

    def _beat(self) -> None:
        pause = self._lease / HEARTBEATS_A_LEASE
        while not self._stop.wait(pause):
            pause = self._lease / HEARTBEATS_A_LEASE
            try:
                self._keep()
            except TransientError:
                pause = self._lease / HURRIED_HEARTBEATS_A_LEASE
            except Exception as error:  # noqa: BLE001 - a thread's boundary: check() raises it to the holder
                self._lost = str(error)
            if self._lost is not None:
                return

    def _note(self, name: str, value: str) -> None:
        """Write an attribute into the item, now or with the next renewal; a failure is reported, never raised."""
        self._notes[name] = value
        try:
            self._keep()
        except EmbeddingAssetsError as error:
            self._on_wait(f"warning: {self._name}: {value} is not noted yet: {error}")

    def _keep(self) -> None:
        """Renew the lease; if another process has the lock, note that ours is lost."""
        with self._renewing:
            started = self._clock()
            if self._renew():
                self._renewed_at = started
            else:
                self._lost = "another took it over"

    def _release(self) -> None:
        """Give it back. A release that fails ends nothing: the work is done, and the lease runs out by itself."""
        try:
            self._renew(release=True)
        except EmbeddingAssetsError as error:
            self._on_wait(
                f"warning: {self._name} was not released, others wait until its lease of {self._lease:g} s "
                f"is over: {error}"
            )

    def _renew(self, *, release: bool = False) -> bool:
        """Renew or release under a new record version; False if the lock is another's.

        If an earlier answer was lost the item has a version that we wrote without knowing: then once more.
        """
        if self._renew_once(release):
            return True
        seen = self._read(self._renewing_client)
        if seen is None or seen.owner != self._owner or seen.record_version is None:
            return False
        self._record_version = seen.record_version
        return self._renew_once(release)

    def _renew_once(self, release: bool) -> bool:
        version = uuid.uuid4().hex
        notes = dict(self._notes)
        sets = ["record_version = :version", *(f"#{name} = :{name}" for name in notes)]
        try:
            with translated(f"{'releasing' if release else 'renewing'} {self._name}"):
                self._renewing_client.update_item(
                    TableName=self._table,
                    Key=self._key,
                    UpdateExpression=f"SET {', '.join(sets)}" + (" REMOVE #owner" if release else ""),
                    ConditionExpression="#owner = :owner AND record_version = :seen",
                    ExpressionAttributeNames={"#owner": "owner", **{f"#{name}": name for name in notes}},
                    ExpressionAttributeValues={
                        ":owner": {"S": self._owner},
                        ":seen": {"S": self._record_version},
                        ":version": {"S": version},
                        **{f":{name}": {"S": value} for name, value in notes.items()},
                    },
                )
        except PreconditionError:
            if not self._ours(version, self._renewing_client):
                return False
        self._record_version = version
        return True

    def _ours(self, version: str, client: DynamoDBClient) -> bool:
        """Whether a refused write was in truth applied: the answer was lost and the SDK sent it again."""
        seen = self._read(client)
        return seen is not None and seen.record_version == version

    @property
    def _key(self) -> dict[str, Any]:
        return {"PK": {"S": self._partition}, "SK": {"S": self._sort}}
