"""Joining answers with requests: every request ends up embedded, failed or unfinished, exactly once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import MappingProxyType

import numpy as np

from embedding_assets.errors import ConservationError
from embedding_assets.openai_batches.batch_status import unanswered_code
from embedding_assets.openai_batches.output import Bad, Good, read_answers, usual_dimensions
from embedding_assets.openai_batches.poll_result import RequestError
from embedding_assets.openai_batches.requests import Problem, Request, Requests
from embedding_assets.rows.arrow import ROWS_AT_ONCE, RowWriter, Vector, delta_batch, delta_schema
from embedding_assets.rows.record import text_sha256

AskedModel = tuple[str, int | None]
"""A model and the dimensions that were asked for; None: its own."""

NO_LINE_ERRORS: Mapping[int, tuple[str, str]] = MappingProxyType({})


@dataclass
class Reconciled:
    """Every request accounted for. `errors` has one entry for each request without an embedding, by its id, and
    `line_errors` one for each line that is no request of its own.

    `unknown` counts answers to ids that nobody asked for; `unknown_example` is the first of these ids, None if no
    such answer had an id. `fitting` counts answers to requests, `repeated` further answers to an id that has its
    good one. `written` is how many rows the delta has.
    """

    embedded: set[str] = field(default_factory=set)
    errors: dict[str, RequestError] = field(default_factory=dict)
    line_errors: list[RequestError] = field(default_factory=list)
    unknown: int = 0
    unknown_example: str | None = None
    fitting: int = 0
    repeated: int = 0
    written: int = 0
    model: str | None = None
    dimensions: int | None = None

    def all_errors(self) -> Iterator[RequestError]:
        """One for each request without an embedding: the lines of `errors.jsonl`."""
        yield from self.errors.values()
        yield from self.line_errors

    def take_errors(self, stored: Iterable[RequestError], requests: Requests) -> None:
        """Put the errors of an earlier poll in the place of these, or all of them if no request is known."""
        for error in stored:
            if error.id in requests.by_id or (not requests.count and error.id and error.id not in self.errors):
                self.errors[error.id] = error
            elif not requests.count:
                self.line_errors.append(error)

    def count(self, reason: str) -> int:
        """How many requests have no embedding for this reason."""
        return sum(error.reason == reason for error in self.all_errors())


def reconcile(
    requests: Requests,
    dimensions: int | None,
    answers: tuple[Path, Path],
    status: str,
    arrow: Path,
    batch_error: tuple[str, str] | None = None,
    line_errors: Mapping[int, tuple[str, str]] = NO_LINE_ERRORS,
    model: AskedModel | None = None,
) -> Reconciled:
    """Write the first good answer of each request to `arrow`; note why the others have none.

    One answer is for each record that shares its request, and each of them counts. `model` is the one that the
    batch's row names: with it each row keeps the hash of the text that was embedded.

    `dimensions` is the length a vector must have, if that is known; else the usual one of the file counts.
    `answers` are OpenAI's output and error file. `batch_error` is code and message of what OpenAI failed the
    whole batch with: that is why a request has no answer, unless `line_errors` has code and message for its line
    of OpenAI's input file. Raises ConservationError if a request got lost.
    """
    judged: Iterator[Good | Bad] = chain.from_iterable(map(read_answers, answers))
    expected = dimensions or requests.dimensions
    if not expected:
        expected, judged = usual_dimensions(judged)
    found = Reconciled(model=requests.model, dimensions=expected)
    if expected is None:
        for answer in judged:
            _note(found, requests, answer)
    else:
        with RowWriter(arrow, delta_schema(expected)) as writer:
            _write(found, requests, judged, expected, writer, model)
        found.written = writer.count
    _note_problems(found, requests)
    _note_unanswered(found, requests, status, batch_error, line_errors if requests.sent else NO_LINE_ERRORS)
    _balance(found, requests)
    return found


def _write(
    found: Reconciled,
    requests: Requests,
    answers: Iterator[Good | Bad],
    expected: int,
    writer: RowWriter,
    model: AskedModel | None,
) -> None:
    waiting: list[tuple[str, Vector]] = []
    for answer in answers:
        judged = _one_input(_right_length(answer, expected), requests)
        for record_id in _note(found, requests, judged):
            assert isinstance(judged, Good), "only a good answer embeds"
            waiting.append((record_id, judged.vector))
            if len(waiting) == ROWS_AT_ONCE:
                _flush(writer, requests, waiting, model)
                waiting.clear()
    if waiting:
        _flush(writer, requests, waiting, model)


def _right_length(answer: Good | Bad, expected: int) -> Good | Bad:
    if isinstance(answer, Bad) or len(answer.vector) == expected:
        return answer
    message = f"the vector has {len(answer.vector)} dimensions, not {expected}"
    return Bad(answer.id, "failed", "wrong_dimensions", message)


def _one_input(answer: Good | Bad, requests: Requests) -> Good | Bad:
    """One vector for several inputs belongs to none of them."""
    request = requests.by_id.get(answer.id) if isinstance(answer, Good) else None
    if request is None or request.inputs == 1:
        return answer
    message = f"the request has {request.inputs:,} inputs, the answer one vector"
    return Bad(answer.id, "failed", "several_inputs", message)


def _note(found: Reconciled, requests: Requests, answer: Good | Bad) -> list[str]:
    """Account for one answer, for each record that it is for; the ids of those that it embeds."""
    answered = requests.answered_by(answer.id)
    if not answered:
        found.unknown += 1
        found.unknown_example = found.unknown_example or answer.id
        return []
    found.fitting += 1
    publishable = [record_id for record_id in answered if requests.by_id[record_id].problem is None]
    open_ones = [record_id for record_id in publishable if record_id not in found.embedded]
    if publishable and not open_ones:
        found.repeated += 1
        return []
    if isinstance(answer, Bad):
        if any(record_id in found.errors for record_id in open_ones):
            found.repeated += 1
        for record_id in open_ones:
            found.errors.setdefault(record_id, _request_error(record_id, answer))
        return []
    for record_id in open_ones:
        found.errors.pop(record_id, None)
        found.embedded.add(record_id)
        found.model = found.model or answer.model
    return open_ones


def _request_error(request_id: str, answer: Bad) -> RequestError:
    return RequestError(
        id=request_id,
        reason=answer.reason,
        code=answer.code,
        message=answer.message,
        status_code=answer.status_code,
    )


def _text_hash(request: Request, model: AskedModel | None) -> bytes | None:
    return None if model is None or request.text is None else text_sha256(request.text, *model)


def _flush(
    writer: RowWriter, requests: Requests, waiting: list[tuple[str, Vector]], model: AskedModel | None
) -> None:
    asked = [requests.by_id[record_id] for record_id, _ in waiting]
    writer.write(
        delta_batch(
            [request.id for request in asked],
            np.stack([vector for _, vector in waiting]),
            [request.document for request in asked],
            [request.metadata for request in asked],
            [request.input_sha256 for request in asked],
            [_text_hash(request, model) for request in asked],
        )
    )


def _note_problems(found: Reconciled, requests: Requests) -> None:
    """What nothing can be published for has failed, whatever the answer."""
    for request in requests.by_id.values():
        if request.problem is not None:
            found.errors[request.id] = _line_error(requests, request.line, request.id, request.problem)
    found.line_errors += [_line_error(requests, odd.line, odd.id, odd.problem) for odd in requests.odd]


def _line_error(requests: Requests, line: int, request_id: str, problem: Problem) -> RequestError:
    message = f"{requests.source} line {line}: {problem.message}"
    return RequestError(id=request_id, reason="failed", code=problem.code, message=message)


def _note_unanswered(
    found: Reconciled,
    requests: Requests,
    status: str,
    batch_error: tuple[str, str] | None,
    line_errors: Mapping[int, tuple[str, str]],
) -> None:
    code, message = batch_error or (unanswered_code(status), f"no answer; the batch is {status}")
    for request in requests.by_id.values():
        if request.id not in found.embedded and request.id not in found.errors:
            own_code, own_message = line_errors.get(request.line, ("", ""))
            found.errors[request.id] = RequestError(
                id=request.id, reason="unfinished", code=own_code or code, message=own_message or message
            )


def _balance(found: Reconciled, requests: Requests) -> None:
    requested = requests.count
    failed, unfinished = found.count("failed"), found.count("unfinished")
    if requested != found.written + failed + unfinished:
        raise ConservationError(
            f"{requested} requested, but {found.written} embedded + {failed} failed + {unfinished} unfinished"
        )
