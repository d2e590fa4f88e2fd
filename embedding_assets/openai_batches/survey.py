"""Which live batches OpenAI has finished: asked by listing, and singly only for those that no list shows."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from embedding_assets.errors import BatchError, ServiceError, TransientError
from embedding_assets.ledger.batch_summary import BatchSummary
from embedding_assets.openai_batches.client import REFUSED, OpenAIBatches, RemoteBatch
from embedding_assets.openai_batches.deletions import finished_itself

LIST_MARGIN = timedelta(days=1)
"""How much older than the oldest live row a batch may be at OpenAI and still be looked for in the list."""


@dataclass(frozen=True)
class Survey:
    """Live batches by what OpenAI says of them. `not_asked` are those whose turn did not come."""

    ready: tuple[BatchSummary, ...]
    running: tuple[BatchSummary, ...]
    not_asked: tuple[BatchSummary, ...]
    oldest_ready_at: datetime | None


def survey(
    openai: OpenAIBatches,
    batches: Sequence[BatchSummary],
    *,
    concurrency: int,
    singles: int | None = None,
    turn: int = 0,
) -> Survey:
    """Sort `batches` (live, oldest first) by whether OpenAI has finished with them.

    Batches of deletions are ready at once: OpenAI has no part in them.
    At most `singles` batches that the list does not show are asked for one by one (None: all), beginning with
    another one at each `turn`. Raises TransientError or ServiceError where OpenAI cannot be asked.
    """
    if not batches:
        return Survey((), (), (), None)
    known = {batch.openai_batch_id: finished_itself(batch) for batch in batches if batch.is_deletion}
    known |= _listed(openai, [batch for batch in batches if not batch.is_deletion])
    unlisted = [batch for batch in batches if batch.openai_batch_id not in known]
    asked = unlisted
    if singles is not None and len(unlisted) > singles:
        first = turn * singles % len(unlisted)
        asked = (unlisted[first:] + unlisted[:first])[:singles]
    with ThreadPoolExecutor(concurrency) as pool:
        answers = list(pool.map(lambda batch: _single(openai, batch), asked))
    problems = [answer for answer in answers if isinstance(answer, TransientError | ServiceError)]
    if problems and len(problems) == len(answers) and not known:
        raise problems[0]
    known |= {
        batch.openai_batch_id: answer
        for batch, answer in zip(asked, answers, strict=True)
        if isinstance(answer, RemoteBatch)
    }
    ready = tuple(batch for batch in batches if _finished(known.get(batch.openai_batch_id)))
    waited = [known[batch.openai_batch_id].finished_at or _LONG_AGO for batch in ready]
    return Survey(
        ready=ready,
        running=tuple(
            batch
            for batch in batches
            if batch.openai_batch_id in known and not known[batch.openai_batch_id].terminal
        ),
        not_asked=tuple(batch for batch in batches if batch.openai_batch_id not in known),
        oldest_ready_at=min(waited, default=None),
    )


_LONG_AGO = datetime.fromtimestamp(0, UTC)


def _listed(openai: OpenAIBatches, batches: Sequence[BatchSummary]) -> dict[str, RemoteBatch]:
    """Those of `batches` that the list shows; reading stops as soon as all are found."""
    if not batches:
        return {}
    wanted = {batch.openai_batch_id for batch in batches}
    found: dict[str, RemoteBatch] = {}
    oldest = max(min(batch.submitted_at for batch in batches), _LONG_AGO + LIST_MARGIN) - LIST_MARGIN
    for remote in openai.list_since(oldest):
        if remote.id in wanted:
            found[remote.id] = remote
            if len(found) == len(wanted):
                break
    return found


def _single(openai: OpenAIBatches, batch: BatchSummary) -> RemoteBatch | TransientError | ServiceError:
    """OpenAI's word on one batch, or why there is none: that must not keep the others from being planned.

    A batch that OpenAI refuses to tell of counts as finished: polling it says why, and counts it.
    """
    try:
        return openai.retrieve(batch.openai_batch_id)
    except BatchError:
        return RemoteBatch(batch.openai_batch_id, REFUSED, _LONG_AGO, None, None, None, None)
    except (TransientError, ServiceError) as error:
        return error


def _finished(remote: RemoteBatch | None) -> bool:
    return remote is not None and remote.terminal
