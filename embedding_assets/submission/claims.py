"""The right to send: one process at a time decides what of a database is left to send, and sends it.

Without it two overlapping files that are submitted at once are paid twice where they overlap: each process would
see only what was sent before both began.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from embedding_assets.databases import Database
from embedding_assets.ledger.lease import Lease
from embedding_assets.ledger.locks import SubmitClaim
from embedding_assets.processes.process_identity import certainly_gone, own_identity

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MAX_WAIT_SECONDS = 4 * 3600.0
"""How long a submission waits for another one that is alive: one of many large files takes hours."""


class DatabaseClaim(Lease):
    """The right to plan and send batches of one database. A holder that was killed here is not waited for."""

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        database: Database,
        *,
        lease_seconds: float,
        on_wait: Callable[[str], None] = lambda message: None,
    ) -> None:
        super().__init__(
            client,
            table,
            (f"SUBMIT#{database.name}", "SUBMIT"),
            name=f"the claim to submit to {database.name}",
            purpose=own_identity() or "unknown",
            lease_seconds=lease_seconds,
            holder_is_gone=certainly_gone,
            on_wait=on_wait,
            max_wait_seconds=MAX_WAIT_SECONDS,
        )


class BatchClaim:
    """The right to send one batch, within the claim to its database. Use as a context manager.

    The batch has a claim of its own too: an older version of this program takes no other.
    """

    def __init__(self, database: DatabaseClaim, batch: SubmitClaim) -> None:
        self._database = database
        self._batch = batch

    def __enter__(self) -> Self:
        self._batch.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._batch.__exit__(kind, error, trace)

    def check(self) -> None:
        """Raise LockError unless both claims are certainly still ours."""
        self._database.check()
        self._batch.check()
