"""Cancelling batches at OpenAI.

A cancelled batch ends like any other: what was embedded by then is polled, published and paid for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from embedding_assets.errors import BatchError, InputError, NotFoundError
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.openai_batches.batch_status import NOT_FOUND
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

    def cancel_all(self, batches: Sequence[BatchSummary], progress: Progress) -> list[BatchSummary]:
        """Cancel live batches; the rows as they are then.

        If OpenAI refuses one, the others are cancelled before its BatchError, or NotFoundError, is raised. A batch
        that has ended is refused: the next ingest polls it.
        """
        rows = []
        refused: list[BatchError | NotFoundError] = []
        for batch in batches:
            try:
                rows.append(self._cancel(batch, progress))
            except (BatchError, NotFoundError) as error:
                refused.append(error)
        if refused:
            for other in refused[1:]:
                progress(str(other))
            raise refused[0]
        return rows

    def _cancel(self, batch: BatchSummary, progress: Progress) -> BatchSummary:
        remote = self.openai.retrieve(batch.openai_batch_id)
        if remote.terminal and remote.status != NOT_FOUND:
            raise BatchError(
                f"batch {batch.batch_id} is {remote.status} at OpenAI: there is nothing to cancel; "
                "the next ingest publishes what it has"
            )
        remote = self.openai.cancel_batch(batch.openai_batch_id)
        progress(f"batch {batch.batch_id}: OpenAI's status {remote.status}; the next ingest publishes what it has")
        if remote.terminal:
            return batch
        return self.ledger.observe(batch.batch_id, batch.generation, Status.CANCELING) or batch
