"""The two leases: the lock of the final merge, one per database, and the claim of who submits a batch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from embedding_assets.ledger.lease import MAX_WAIT_SECONDS, Clock, Lease
from embedding_assets.processes.process_identity import certainly_gone, own_identity
from embedding_assets.telemetry import telemetry

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class MergeLock(Lease):
    """The lock of one database's final merge.

    `epoch_floor` returns the greatest epoch that the pointer knows: ours will be greater, also if the table was
    restored from an older state. If it was `taken_over`, the pointer must be fenced before anything is published.
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
        renewing: DynamoDBClient | None = None,
        on_wait: Callable[[str], None] = lambda message: None,
        max_wait_seconds: float = MAX_WAIT_SECONDS,
        clock: Clock | None = None,
    ) -> None:
        self._database = database
        super().__init__(
            client,
            table,
            (f"LOCK#{database}", "LOCK"),
            name=f"the lock of {database}",
            purpose=execution_id,
            lease_seconds=lease_seconds,
            renewing=renewing,
            epoch_floor=epoch_floor,
            on_wait=on_wait,
            max_wait_seconds=max_wait_seconds,
            clock=clock,
        )

    def __enter__(self) -> Self:
        began = time.monotonic()
        entered = super().__enter__()
        telemetry().record("embedding_assets.lock.wait", time.monotonic() - began, database=self._database)
        return entered

    def note_published(self, version: str) -> None:
        """Note in the lock's item that `version` is the published one: later holders look for it in the chain.

        Raises nothing: what could not be written now is written by the next renewal or by the release.
        """
        self._note("published", version)


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
        renewing: DynamoDBClient | None = None,
        on_wait: Callable[[str], None] = lambda message: None,
    ) -> None:
        super().__init__(
            client,
            table,
            (f"BATCH#{batch_id}", "SUBMIT"),
            name=f"the claim to submit batch {batch_id}",
            purpose=own_identity() or "unknown",
            lease_seconds=lease_seconds,
            renewing=renewing,
            holder_is_gone=certainly_gone,
            on_wait=on_wait,
        )
