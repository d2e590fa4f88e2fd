"""Cancelling batches at OpenAI.

A cancelled batch ends like any other: what was embedded by then is polled, published and paid for.
"""

from __future__ import annotations

from dataclasses import dataclass

from embedding_assets.errors import InputError
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.progress import Progress


@dataclass(frozen=True)
class Canceller:
    """Asks OpenAI to cancel batches, and notes it in their rows."""

    ledger: Ledger
    openai: OpenAIBatches

    def check(self, batch: BatchSummary) -> None:
        """Raise InputError if there is nothing at OpenAI to cancel."""
        if not batch.status.live:
            raise InputError(f"batch {batch.batch_id} is {batch.status}: there is nothing to cancel")
        if not batch.at_openai:
            raise InputError(f"batch {batch.batch_id} is not at OpenAI: there is nothing to cancel")

    def cancel(self, batch: BatchSummary, progress: Progress) -> BatchSummary:
        """Cancel one live batch; the row as it is then.

        Raises BatchError if OpenAI refuses: a batch that has ended there is polled by the next ingest.
        """
        remote = self.openai.cancel_batch(batch.openai_batch_id)
        progress(f"batch {batch.batch_id}: OpenAI's status {remote.status}; the next ingest publishes what it has")
        if remote.terminal:
            return batch
        return self.ledger.observe(batch.batch_id, batch.generation, Status.CANCELING) or batch
