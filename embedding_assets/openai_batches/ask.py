"""Asking OpenAI for many batches at once: a call lists a hundred, and says what each is and under which files."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import suppress

from embedding_assets.errors import ServiceError, TransientError
from embedding_assets.ledger.batch_summary import BatchSummary
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.openai_batches.remote import RemoteBatch
from embedding_assets.openai_batches.survey import listed

ENTRIES_A_BATCH = 10
"""Entries of the list that are read for each batch that is looked for: more would cost more than asking singly."""
FEW = 10
"""Up to so many batches are asked for singly: a list that begins with newer ones would cost as much."""

Answer = RemoteBatch | Exception


def ask_for(openai: OpenAIBatches, batches: Sequence[BatchSummary], pool: Executor) -> dict[str, Answer]:
    """By batch id, what OpenAI returns for each, or the error that says why not.

    Singly asked are those that the list does not show, and those of which it does not show all: that a batch is
    missing, or its output, is never believed of a list.
    """
    known: dict[str, RemoteBatch] = {}
    if len(batches) > FEW:
        with suppress(TransientError, ServiceError):
            known, _ = listed(openai, batches, len(batches) * ENTRIES_A_BATCH)
    sure = {name: remote for name, remote in known.items() if remote.terminal and not remote.lacks_output}
    left = [batch for batch in batches if batch.openai_batch_id not in sure]
    answers: dict[str, Answer] = {
        batch.batch_id: sure[batch.openai_batch_id] for batch in batches if batch.openai_batch_id in sure
    }
    singly = pool.map(lambda batch: _single(openai, batch), left)
    return answers | {batch.batch_id: answer for batch, answer in zip(left, singly, strict=True)}


def _single(openai: OpenAIBatches, batch: BatchSummary) -> Answer:
    try:
        return openai.retrieve(batch.openai_batch_id)
    except Exception as error:  # noqa: BLE001 - raised again where the batch is polled
        return error
