"""Leaving final batches as they are: somebody looked, and says why nothing more is done."""

from __future__ import annotations

from collections.abc import Sequence

from embedding_assets.errors import InputError
from embedding_assets.ledger.batch_summary import BatchSummary
from embedding_assets.ledger.ledger import Ledger


def acknowledge_batches(ledger: Ledger, rows: Sequence[BatchSummary], reason: str) -> list[BatchSummary]:
    """Note the reason in every row; opening a batch again or resubmitting it takes it away.

    Raises InputError, before any row is changed, for an empty reason and for a batch that is live, was
    resubmitted, or has nothing to acknowledge; PreconditionError for one that changes meanwhile.
    """
    if not reason.strip():
        raise InputError("a reason is needed: it is all that others will see")
    for row in rows:
        _refuse(row)
    return [ledger.acknowledge(row, reason.strip()) for row in rows]


def _refuse(row: BatchSummary) -> None:
    if row.status.live:
        raise InputError(f"batch {row.batch_id} is {row.status}: only what has ended can be acknowledged")
    if row.resubmitted_as is not None:
        raise InputError(f"batch {row.batch_id} was resubmitted as {row.resubmitted_as}: nothing warns of it")
    if not (row.failed_count or row.unfinished_count or row.error):
        raise InputError(
            f"batch {row.batch_id} is {row.status} and lacks nothing: there is nothing to acknowledge"
        )
