"""Whether the key is of the project in which the batches of the table were made.

A valid key of another project gets 404 for every batch. Nobody believes that everything is gone: if nothing that
was asked for is known and the list shows none of ours, the key is the likelier reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Protocol

from embedding_assets.errors import UnusableAnswerError
from embedding_assets.openai_batches.batch_status import NOT_FOUND, REFUSED
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.openai_batches.remote import RemoteBatch

LISTED_AT_MOST = 10_000
"""Entries of the list that are read, the newest first: 100 calls."""

SINCE_EVER = datetime.fromtimestamp(0, UTC)


class Table(Protocol):
    """What is needed of the ledger."""

    def openai_ids(self) -> Iterator[tuple[str, str]]:
        """Batch id and OpenAI batch id of every row."""
        ...


def is_another_project(openai: OpenAIBatches, table: Table, answers: Iterable[RemoteBatch]) -> bool:
    """Whether the key seems to be of another project, by what OpenAI answered for the batches asked for.

    It does if OpenAI knows none of them and its list shows no batch of the table, live or final, by its id or by
    the `batch_id` of its metadata. A refusal of one batch says nothing either way. A list that cannot be used
    shows nothing. Raises TransientError or ServiceError if the list or the table cannot be read.
    """
    statuses = {answer.status for answer in answers} - {REFUSED}
    return statuses == {NOT_FOUND} and not _lists_ours(openai, table)


def _lists_ours(openai: OpenAIBatches, table: Table) -> bool:
    """The table is only read if the list shows anything at all."""
    listed = islice(openai.list_since(SINCE_EVER), LISTED_AT_MOST)
    try:
        first = next(listed, None)
        if first is None:
            return False
        ours = list(table.openai_ids())
        batch_ids, openai_ids = {one for one, _ in ours}, {one for _, one in ours}
        return any(_is_ours(remote, batch_ids, openai_ids) for remote in chain([first], listed))
    except UnusableAnswerError:
        return False


def _is_ours(remote: RemoteBatch, batch_ids: set[str], openai_ids: set[str]) -> bool:
    return remote.id in openai_ids or remote.metadata.get("batch_id") in batch_ids
