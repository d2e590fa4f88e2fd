"""Leases: the lock of the final merge, one per database, and the claim of who submits a batch.

A lease has an owner and an epoch that only grows.

Promise: at most one process believes itself holder within a lease; whoever was holder before can be told by
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
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from embedding_assets.aws import translated
from embedding_assets.errors import LockError, PreconditionError, TransientError
from embedding_assets.interruption import uninterrupted
from embedding_assets.process_identity import certainly_gone, own_identity

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

HEARTBEATS_A_LEASE = 4
LOOKS_A_LEASE = 10
MAX_WAIT_SECONDS = 3600.0
"""How long a merge waits for another one that is alive."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class _Seen:
    """The lock's item as read: `owner` is None once it was released."""

    owner: str | None
    epoch: int
    record_version: str
    lease_seconds: float
    purpose: str


class Lease:
    """Use as a context manager: entering waits for the lease, leaving releases it, the item stays.

    `name` is how it is told; `purpose` stands in the item's `execution_id`, for those who wait. `taken_over` is
    true where the former holder had not released: then it may still be alive.
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
        epoch_floor: Callable[[], int] = lambda: 0,
        holder_is_gone: Callable[[str], bool] = lambda purpose: False,
        on_wait: Callable[[str], None] = lambda message: None,
        max_wait_seconds: float = MAX_WAIT_SECONDS,
        clock: Clock | None = None,
    ) -> None:
        self._client = client
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
        told = started
        unchanged_since = started
        last: _Seen | None = None
        while True:
            seen = self._read()
            now = self._clock()
            if last is None or seen is None or seen.record_version != last.record_version:
                unchanged_since, last = now, seen
            free = seen is None or seen.owner is None
            expired = seen is not None and (
                now - unchanged_since > seen.lease_seconds or self._holder_is_gone(seen.purpose)
            )
            if (free or expired) and self._take(seen):
                self.taken_over = not free
                return
            if now - started > self._max_wait:
                raise LockError(f"{self._name} is held by another since {now - started:.0f} s")
            if now - told >= min(self._lease, 30.0):
                told = now
                self._on_wait(f"waiting for {self._name} since {now - started:.0f} s")
            time.sleep(min(seen.lease_seconds if seen else self._lease, self._lease) / LOOKS_A_LEASE)

    def _read(self) -> _Seen | None:
        with translated(f"reading {self._name}"):
            item: Mapping[str, Any] | None = self._client.get_item(
                TableName=self._table, Key=self._key, ConsistentRead=True
            ).get("Item")
        if item is None:
            return None
        return _Seen(
            owner=item.get("owner", {}).get("S"),
            epoch=int(item.get("epoch", {}).get("N", "0")),
            record_version=item.get("record_version", {}).get("S", ""),
            lease_seconds=float(item.get("lease_seconds", {}).get("N", str(self._lease))),
            purpose=item.get("execution_id", {}).get("S", ""),
        )

    def _take(self, seen: _Seen | None) -> bool:
        epoch = 1 + max(seen.epoch if seen else 0, self._floor())
        started = self._clock()
        condition = "attribute_not_exists(PK)" if seen is None else "record_version = :seen"
        values = {} if seen is None else {":seen": {"S": seen.record_version}}
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
            if not self._ours(version):
                return False
        self._record_version = version
        return True

    def _beat(self) -> None:
        while not self._stop.wait(self._lease / HEARTBEATS_A_LEASE):
            try:
                self._keep()
            except TransientError:
                continue
            except Exception as error:  # noqa: BLE001 - a thread's boundary: told to the holder by check()
                self._lost = str(error)
            if self._lost is not None:
                return

    def _keep(self) -> None:
        """Renew the lease; where another has the lock it is noted as lost."""
        with self._renewing:
            started = self._clock()
            if self._renew("SET record_version = :version"):
                self._renewed_at = started
            else:
                self._lost = "another took it over"

    def _release(self) -> None:
        try:
            self._renew("SET record_version = :version REMOVE #owner")
        except TransientError:
            return

    def _renew(self, expression: str) -> bool:
        """Renew or release under a new record version; False where the lock is another's.

        Where an earlier answer was lost the item has a version that we wrote without knowing: then once more.
        """
        if self._renew_once(expression):
            return True
        seen = self._read()
        if seen is None or seen.owner != self._owner:
            return False
        self._record_version = seen.record_version
        return self._renew_once(expression)

    def _renew_once(self, expression: str) -> bool:
        version = uuid.uuid4().hex
        try:
            with translated(f"renewing {self._name}"):
                self._client.update_item(
                    TableName=self._table,
                    Key=self._key,
                    UpdateExpression=expression,
                    ConditionExpression="#owner = :owner AND record_version = :seen",
                    ExpressionAttributeNames={"#owner": "owner"},
                    ExpressionAttributeValues={
                        ":owner": {"S": self._owner},
                        ":seen": {"S": self._record_version},
                        ":version": {"S": version},
                    },
                )
        except PreconditionError:
            if not self._ours(version):
                return False
        self._record_version = version
        return True

    def _ours(self, version: str) -> bool:
        """Whether a refused write was in truth applied: the answer was lost and the SDK sent it again."""
        seen = self._read()
        return seen is not None and seen.record_version == version

    @property
    def _key(self) -> dict[str, Any]:
        return {"PK": {"S": self._partition}, "SK": {"S": self._sort}}


class MergeLock(Lease):
    """The lock of one database's final merge.

    `epoch_floor` tells the greatest epoch that the pointer knows: ours will be greater, also where the table
    was restored from an older state. Where it was `taken_over`, the pointer must be fenced before anything is
    published.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        database: str,
        *,
        execution_id: str,
        lease_seconds: float,
        epoch_floor: Callable[[], int],
        on_wait: Callable[[str], None] = lambda message: None,
        max_wait_seconds: float = MAX_WAIT_SECONDS,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(
            client,
            table,
            (f"LOCK#{database}", "LOCK"),
            name=f"the lock of {database}",
            purpose=execution_id,
            lease_seconds=lease_seconds,
            epoch_floor=epoch_floor,
            on_wait=on_wait,
            max_wait_seconds=max_wait_seconds,
            clock=clock,
        )


class SubmitClaim(Lease):
    """The right to submit one batch: whoever holds it is the only one who creates it at OpenAI.

    A holder that was killed on this machine is not waited for.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        batch_id: str,
        *,
        lease_seconds: float,
        on_wait: Callable[[str], None] = lambda message: None,
    ) -> None:
        super().__init__(
            client,
            table,
            (f"BATCH#{batch_id}", "SUBMIT"),
            name=f"the claim to submit batch {batch_id}",
            purpose=own_identity() or "unknown",
            lease_seconds=lease_seconds,
            holder_is_gone=certainly_gone,
            on_wait=on_wait,
        )
