"""Why a batch is looked for again, or ends without an embedding, in words. Pure."""

from __future__ import annotations

from embedding_assets.ledger.batch_summary import BatchSummary
from embedding_assets.openai_batches.batch_status import NO_ANSWER, NOT_FOUND
from embedding_assets.openai_batches.poll_result import RequestError
from embedding_assets.openai_batches.reconcile import Reconciled
from embedding_assets.openai_batches.remote import RemoteBatch
from embedding_assets.text.bounded_text import MESSAGE_CHARS, bounded
from embedding_assets.text.counted import counted

MISFIT = "records_misfit"
"""Code of the requests of a batch whose records do not fit its row or its answers."""

ID_CHARACTERS = 100
"""A longer id is cut."""


def why_missing(remote: RemoteBatch, output_gone: bool, errors_gone: bool) -> str | None:
    """What OpenAI does not show of a batch; None if it shows all. `…_gone`: the content is not there (404)."""
    if remote.status == NOT_FOUND:
        return "OpenAI does not know this batch"
    if output_gone:
        return "OpenAI does not give the output of this batch"
    if remote.lacks_output:
        return f"OpenAI names no output of this batch, but counts {remote.completed_count} answers"
    return "OpenAI does not give the error file of this batch" if errors_gone else None


def why_nothing(remote: RemoteBatch, found: Reconciled, output_gone: bool) -> str:
    """Why a batch that has ended has no embedding."""
    if remote.status == NOT_FOUND:
        return "OpenAI does not know this batch"
    if output_gone:
        return "OpenAI has deleted the output of this batch"
    first = next((error for error in found.all_errors() if error.code != NO_ANSWER), None)
    if first is not None:
        return f"no request has an embedding; the first: {first.code} {first.message}".rstrip()
    if found.unknown:
        lines = counted(found.unknown, "line")
        return f"OpenAI says {remote.status}, but no id can be read in the {lines} that it delivered"
    counts = f", but counts {remote.completed_count} answers" if remote.lacks_output else ""
    return f"OpenAI says {remote.status} and delivered nothing{counts}"


def wrong_number(key: str, lines: int, request_count: int | None) -> str | None:
    """Why `records/` cannot be what was submitted: it is empty, or has another number of lines than the row says.

    None if it can. A count of 0 says nothing: a batch that requests nothing is never sent.
    """
    if lines and (not request_count or lines == request_count):
        return None
    has = f"{key} has {lines} line{'' if lines == 1 else 's'}"
    return f"{has}, but the row's request_count is {request_count}" if request_count else has


def not_all_records(key: str, batch: BatchSummary) -> str | None:
    """Why OpenAI's input file cannot stand for what was submitted: records share its requests; None if it can."""
    if batch.sent_count is None or batch.request_count is None or batch.sent_count >= batch.request_count:
        return None
    return (
        f"{key} is not there: it alone says which of the {batch.request_count} records share the "
        f"{batch.sent_count} requests that were sent"
    )


def none_fits(found: Reconciled) -> str | None:
    """That answers came and none is to a request, with one id of each side; else None."""
    if found.fitting or found.unknown_example is None or not found.errors:
        return None
    requested = next(iter(found.errors))
    return (
        f"none of the {found.unknown} answers fits a request: {_short(requested)} was requested, "
        f"{_short(found.unknown_example)} was answered"
    )


def _short(record_id: str) -> str:
    return repr(record_id) if len(record_id) <= ID_CHARACTERS else f"{record_id[:ID_CHARACTERS]!r}…"


def misfit_error(request_id: str, message: str) -> RequestError:
    """What is on record of a request whose batch's records do not fit."""
    return RequestError(id=request_id, reason="unfinished", code=MISFIT, message=bounded(message, MESSAGE_CHARS))


def batch_error(remote: RemoteBatch) -> tuple[str, str] | None:
    """Code and message, for each request, of what OpenAI failed the whole batch with: the row has its own text."""
    if not remote.failed or remote.error_code is None:
        return None
    return remote.error_code, "no answer; OpenAI failed the whole batch, see the error of its row"
