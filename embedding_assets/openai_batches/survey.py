"""Which live batches OpenAI has finished: asked by listing, and singly only for those that no list shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from embedding_assets.errors import BatchError, ServiceError, TransientError, UnusableAnswerError
from embedding_assets.ledger.batch_summary import BatchSummary
from embedding_assets.openai_batches.absence import Absence, is_old
from embedding_assets.openai_batches.account import Table, is_another_project
from embedding_assets.openai_batches.batch_status import NOT_FOUND, REFUSED
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.openai_batches.deletions import finished_itself
from embedding_assets.openai_batches.remote import RemoteBatch

LIST_MARGIN = timedelta(days=1)
"""How much older than the oldest live row a batch may be at OpenAI and still be looked for in the list."""

_LONG_AGO = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class Survey:
    """Live batches by what OpenAI says of them. `not_asked` are those whose turn did not come.

    `missing` are those that OpenAI does not show, or not their output, and that are only looked for again. If
    `another_project` the key seems to be of another project, and every batch that is not old is among them.
    `unknown_statuses` has OpenAI's own word for running batches if it is none that we know. `warnings` are lines
    about what could not be read.
    """

    ready: tuple[BatchSummary, ...]
    running: tuple[BatchSummary, ...]
    not_asked: tuple[BatchSummary, ...]
    oldest_ready_at: datetime | None
    missing: tuple[BatchSummary, ...] = ()
    another_project: bool = False
    unknown_statuses: Mapping[str, str] | None = None
    warnings: tuple[str, ...] = ()

    def unknown_status(self, batch: BatchSummary) -> str | None:
        """OpenAI's own word for the status of a running batch; None if we know it."""
        return (self.unknown_statuses or {}).get(batch.batch_id)


def survey(
    openai: OpenAIBatches,
    batches: Sequence[BatchSummary],
    *,
    concurrency: int,
    singles: int | None = None,
    turn: int = 0,
    absence: Absence | None = None,
    table: Table | None = None,
) -> Survey:
    """Sort `batches` (live, oldest first) by whether OpenAI has finished with them.

    Batches in which OpenAI has no part, deletions say, are ready at once. One that OpenAI does not know is ready
    too, so that the poll notes it; after that it is `missing` until OpenAI shows it again or the grace is over.
    At most `singles` batches that the list does not show are asked for one by one (None: all), beginning with
    another one at each `turn`. Without a `table` nobody asks whether the key is of another project. Raises
    TransientError or ServiceError if OpenAI cannot be asked.
    """
    if not batches:
        return Survey((), (), (), None)
    now = datetime.now(UTC)
    here = {batch.openai_batch_id: finished_itself(batch) for batch in batches if not batch.at_openai}
    at_openai = [batch for batch in batches if batch.at_openai]
    known, warnings = listed(openai, at_openai)
    with ThreadPoolExecutor(concurrency) as pool:
        asked = _in_turn([batch for batch in at_openai if batch.openai_batch_id not in known], singles, turn)
        answers = list(pool.map(lambda batch: _single(openai, batch), asked))
        problems = [answer for answer in answers if isinstance(answer, TransientError | ServiceError)]
        if problems and len(problems) == len(answers) and not known:
            raise problems[0]
        if problems:
            warnings.append(f"could not ask for {len(problems)} batches, which are asked again: {problems[0]}")
        known |= {
            batch.openai_batch_id: answer
            for batch, answer in zip(asked, answers, strict=True)
            if isinstance(answer, RemoteBatch)
        }
        another_project = table is not None and is_another_project(openai, table, known.values())
        if another_project:
            missing = {batch.batch_id for batch in at_openai if not is_old(batch, now)}
        else:
            waiting = [batch for batch in at_openai if (absence or Absence()).waits(batch, now)]
            in_doubt = [batch for batch in waiting if _finished(known.get(batch.openai_batch_id))]
            looked = _in_turn(in_doubt, singles, turn)
            shown = pool.map(lambda batch: _shows(openai, known[batch.openai_batch_id]), looked)
            again = {batch.batch_id for batch, there in zip(looked, shown, strict=True) if there}
            missing = {batch.batch_id for batch in in_doubt} - again
    known |= here
    ready = tuple(
        batch for batch in batches if batch.batch_id not in missing and _finished(known.get(batch.openai_batch_id))
    )
    running = tuple(
        batch for batch in batches if batch.openai_batch_id in known and not known[batch.openai_batch_id].terminal
    )
    waited = [known[batch.openai_batch_id].finished_at or _LONG_AGO for batch in ready]
    words = {batch.batch_id: known[batch.openai_batch_id].unknown_status for batch in running}
    return Survey(
        ready=ready,
        running=running,
        not_asked=tuple(
            batch for batch in batches if batch.openai_batch_id not in known and batch.batch_id not in missing
        ),
        oldest_ready_at=min(waited, default=None),
        missing=tuple(batch for batch in batches if batch.batch_id in missing),
        another_project=another_project,
        unknown_statuses={batch_id: word for batch_id, word in words.items() if word is not None},
        warnings=tuple(warnings),
    )


def _in_turn(batches: list[BatchSummary], most: int | None, turn: int) -> list[BatchSummary]:
    """At most so many of `batches`, beginning with another one at each turn."""
    if most is None or len(batches) <= most:
        return batches
    first = turn * most % len(batches)
    return (batches[first:] + batches[:first])[:most]


def listed(
    openai: OpenAIBatches, batches: Sequence[BatchSummary], most: int | None = None
) -> tuple[dict[str, RemoteBatch], list[str]]:
    """Those of `batches` that the list shows, and what could not be read; reading stops as soon as all are found.

    At most `most` entries are read. A list that cannot be used shows none: the batches are asked for singly.
    """
    if not batches:
        return {}, []
    wanted = {batch.openai_batch_id for batch in batches}
    found: dict[str, RemoteBatch] = {}
    odd: list[str] = []
    oldest = max(min(batch.submitted_at for batch in batches), _LONG_AGO + LIST_MARGIN) - LIST_MARGIN
    try:
        for remote in islice(openai.list_since(oldest), most):
            if remote.odd is not None:
                odd.append(f"{remote.id}: {remote.odd}" if remote.id else remote.odd)
            elif remote.id in wanted:
                found[remote.id] = remote
                if len(found) == len(wanted):
                    break
    except UnusableAnswerError as error:
        return found, [f"{error}; the batches are asked for singly"]
    return found, [_odd_entries(odd)] if odd else []


def _odd_entries(odd: Sequence[str]) -> str:
    """One line about the entries of the list that were skipped."""
    more = f", and {len(odd) - 1} more" if len(odd) > 1 else ""
    return f"an entry of OpenAI's list cannot be read and is skipped ({odd[0]}{more})"


def _shows(openai: OpenAIBatches, listed: RemoteBatch) -> bool:
    """Whether a batch that was missing is there now, with its files. What cannot be asked now is not there yet."""
    if listed.status == NOT_FOUND:
        return False
    try:
        remote = openai.retrieve(listed.id)
        files = (remote.output_file_id, remote.error_file_id, remote.input_file_id)
        there = all(openai.has_content(file_id) for file_id in files if file_id is not None)
        return there and remote.status != NOT_FOUND and not remote.lacks_output
    except (BatchError, TransientError, ServiceError):
        return False


def _single(openai: OpenAIBatches, batch: BatchSummary) -> RemoteBatch | TransientError | ServiceError:
    """OpenAI's word on one batch, or why there is none: that must not keep the others from being planned.

    A batch that OpenAI refuses to show counts as finished: polling it says why, and counts it.
    """
    try:
        return openai.retrieve(batch.openai_batch_id)
    except BatchError:
        return RemoteBatch(batch.openai_batch_id, REFUSED)
    except (TransientError, ServiceError) as error:
        return error


def _finished(remote: RemoteBatch | None) -> bool:
    return remote is not None and remote.terminal
