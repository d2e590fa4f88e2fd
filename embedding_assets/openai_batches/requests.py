"""What a batch was asked to embed: its `records/` object, or else OpenAI's input file.

Every line that is not blank is one request, so requested = number of lines. A line that is odd is its own matter:

- It has an id but no usable text (token ids, a number, no body): a request whose document is unknown.
- Nothing can be published for it (metadata that Chroma refuses, several inputs, another model): a request with a
  `problem`. It fails, whatever the answer.
- It has no id, or the id of an earlier line: an `OddLine`, which fails too.

Two lines with one id that ask for the same thing are one request and a `duplicate_id`. If they ask for different
things, nobody can say which of them a vector belongs to: both fail with `ambiguous_id`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import orjson

from embedding_assets.errors import BatchError, InputError
from embedding_assets.openai_batches.file_lines import numbered_lines
from embedding_assets.openai_batches.record_ids import usable_id
from embedding_assets.rows.record import checked_metadata, is_unicode, metadata_json
from embedding_assets.text.bounded_text import MESSAGE_CHARS, NAME_CHARS, bounded

LONG_NUMBER = re.compile(rb"\d{19}")
"""Digits that may be an integer of more than 64 bits."""
FIRST_FIELD = {
    name: re.compile(rb'\s*\{\s*"' + name.encode() + rb'"\s*:\s*("(?:[^"\\]|\\.)*")')
    for name in ("id", "custom_id")
}
"""The id of a line that is no JSON, if it comes first: then it is no other object's id."""
MOST_DIMENSIONS = 100_000
MOST_LINES = 1_000_000
"""OpenAI takes 50,000 requests a batch."""

T = TypeVar("T")


@dataclass(frozen=True)
class Problem:
    """Why nothing can be published for a line, whatever it is answered with."""

    code: str
    message: str


@dataclass(frozen=True)
class Request:
    """One record to embed, without its vector. `metadata` is canonical JSON; `text` None if it is unknown.

    `request_id` is the id of the record whose request it shares, None if it has one of its own.
    `inputs` is how many inputs it has; `line_sha256` tells requests without a text from each other. `line` is its
    line in the file, from 1.
    """

    id: str
    document: str | None
    metadata: str | None
    input_sha256: str | None = None
    text: str | None = None
    model: str | None = None
    inputs: int = 1
    line_sha256: str | None = None
    problem: Problem | None = None
    line: int = field(default=0, compare=False)
    request_id: str | None = None

    @property
    def answered_as(self) -> str:
        """The id under which its answer arrives: its own, unless it shares the request of another record."""
        return self.request_id or self.id


@dataclass(frozen=True)
class OddLine:
    """A line that is no request of its own: without an id (`id` is empty), or with the id of an earlier line."""

    line: int
    id: str
    problem: Problem


@dataclass(frozen=True)
class Requests:
    """All requests of a batch by id, in the order of the file; what its body asked for, if known.

    `lines` is the number of lines of the file that are not blank: those of `by_id` and the `odd` ones. `source`
    names the file in messages; `sent` is true for the file that OpenAI got, whose lines OpenAI may name.
    """

    by_id: dict[str, Request]
    model: str | None = None
    dimensions: int | None = None
    lines: int = 0
    odd: tuple[OddLine, ...] = ()
    source: str = ""
    sent: bool = False

    @property
    def count(self) -> int:
        """How many requests there are; records that share one count each."""
        return len(self.by_id) + len(self.odd)

    @cached_property
    def shared(self) -> Mapping[str, tuple[str, ...]]:
        """The ids of the records whose answer arrives under another id, by that id."""
        found: dict[str, list[str]] = {}
        for request in self.by_id.values():
            if request.answered_as != request.id:
                found.setdefault(request.answered_as, []).append(request.id)
        return {answered: tuple(ids) for answered, ids in found.items()}

    def answered_by(self, answered: str | None) -> tuple[str, ...]:
        """The ids of the records that an answer to this id is for; none if nobody asked for it."""
        if answered is None:
            return ()
        own = self.by_id.get(answered)
        first = () if own is None or own.answered_as != answered else (answered,)
        return first + self.shared.get(answered, ())


def read_records(path: Path, name: str) -> Requests:
    """Read `records/{batch_id}.jsonl`. Raises BatchError if it has more than a million lines."""
    found = _Found(name)
    for number, line in numbered_lines(path):
        value = found.object(number, line, "id")
        if value is not None:
            found.add(_record(value, number))
    return Requests(found.by_id, lines=found.lines, odd=tuple(found.odd), source=name)


def read_input_file(path: Path, name: str) -> Requests:
    """Read a batch's OpenAI input file: `custom_id` is the id, `body.input` the document.

    The model is that of most requests that name one. The dimensions are what most requests ask for, None if most
    leave them to the model. Raises BatchError if it has more than a million lines.
    """
    found = _Found(name)
    dimensions: list[int | None] = []
    for number, line in numbered_lines(path):
        value = found.object(number, line, "custom_id")
        if value is None:
            continue
        body = value.get("body")
        body = body if isinstance(body, dict) else {}
        found.add(_sent(value, body, line, number))
        asked = body.get("dimensions")
        is_length = isinstance(asked, int) and not isinstance(asked, bool) and 0 < asked <= MOST_DIMENSIONS
        dimensions.append(asked if is_length else None)
    model = _most(request.model for request in found.by_id.values() if request.model is not None)
    for request in list(found.by_id.values()):
        if request.model not in (None, model) and request.problem is None:
            problem = Problem("other_model", f"the request is for model {request.model}, most are for {model}")
            found.by_id[request.id] = replace(request, problem=problem)
    return Requests(found.by_id, model, _most(dimensions), found.lines, tuple(found.odd), name, sent=True)


class _Found:
    """What the lines read so far ask for."""

    def __init__(self, name: str) -> None:
        self.by_id: dict[str, Request] = {}
        self.odd: list[OddLine] = []
        self.lines = 0
        self._name = name

    def object(self, number: int, line: bytes, id_field: str) -> dict[str, Any] | None:
        """The object of a line that has an id; any other line is noted."""
        self.lines += 1
        if self.lines > MOST_LINES:
            raise BatchError(f"{self._name} has more than {MOST_LINES:,} lines")
        try:
            value = _parsed(line)
        except (ValueError, RecursionError) as error:
            why = Problem("malformed_request", f"the line is not JSON{_where(error)}")
            known = _first_id(line, id_field)
            if known is None:
                self.odd.append(OddLine(number, "", why))
            else:
                self.add(Request(known, None, None, problem=why, line=number))
            return None
        if not isinstance(value, dict):
            self.odd.append(OddLine(number, "", Problem("malformed_request", "the line is not a JSON object")))
            return None
        if usable_id(value.get(id_field)) is None:
            self.odd.append(OddLine(number, "", Problem("no_id", f"{id_field} must be text and not empty")))
            return None
        return value

    def add(self, request: Request) -> None:
        """Note a request, or an odd line if an earlier one has its id."""
        first = self.by_id.setdefault(request.id, request)
        if first is request:
            return
        if first == request:
            problem = Problem("duplicate_id", f"the line repeats line {first.line}")
        else:
            message = f"line {first.line} has the same id, but asks for something else"
            problem = Problem("ambiguous_id", message)
            if first.problem is None or first.problem.code != "ambiguous_id":
                other = Problem(
                    "ambiguous_id", f"line {request.line} has the same id, but asks for something else"
                )
                self.by_id[request.id] = replace(first, problem=other)
        self.odd.append(OddLine(request.line, request.id, problem))


def _record(value: dict[str, Any], number: int) -> Request:
    """One line of records. A document that is no text is unknown."""
    metadata, problem = None, None
    try:
        metadata = metadata_json(checked_metadata(value.get("metadata")))
    except InputError as error:
        problem = Problem("metadata_refused", bounded(str(error), MESSAGE_CHARS))
    return Request(
        id=_id(value.get("id")),
        document=_text(value.get("document", value.get("text"))),
        metadata=metadata,
        input_sha256=_text(value.get("input_sha256")),
        text=_text(value.get("text")),
        problem=problem,
        line=number,
        request_id=usable_id(value.get("request_id")),
    )


def _sent(value: dict[str, Any], body: dict[str, Any], line: bytes, number: int) -> Request:
    """One line of an input file. The document is the text, if the request has exactly one."""
    asked = body.get("input")
    only = asked[0] if isinstance(asked, list) and len(asked) == 1 else asked
    text = _text(only)
    model = _text(body.get("model"))
    return Request(
        id=_id(value.get("custom_id")),
        document=text,
        metadata=None,
        text=text,
        model=bounded(model, NAME_CHARS) if model else None,
        inputs=_inputs(asked),
        line_sha256=hashlib.sha256(line.strip()).hexdigest() if text is None else None,
        line=number,
    )


def _inputs(asked: object) -> int:
    """How many inputs a request has: a list of numbers is one input, its tokens."""
    if not isinstance(asked, list) or all(isinstance(one, int | float) for one in asked):
        return 1
    return len(asked)


def _parsed(line: bytes) -> Any:
    """What the standard library reads in a line. Of integers from 2^64 orjson makes floats: it gets none."""
    if not LONG_NUMBER.search(line):
        try:
            return orjson.loads(line)
        except orjson.JSONDecodeError:
            pass
    return json.loads(line.decode())


def _where(error: Exception) -> str:
    return f" ({error.msg}, character {error.pos + 1})" if isinstance(error, json.JSONDecodeError) else ""


def _first_id(line: bytes, id_field: str) -> str | None:
    found = FIRST_FIELD[id_field].match(line)
    try:
        return usable_id(json.loads(found.group(1))) if found else None
    except ValueError:
        return None


def _id(value: object) -> str:
    known = usable_id(value)
    assert known is not None, "a line without an id is an OddLine"
    return known


def _text(value: object) -> str | None:
    """Text as it is; None for anything else, and for text that is not Unicode (a lone surrogate)."""
    return value if isinstance(value, str) and is_unicode(value) else None


def _most(values: Iterable[T]) -> T | None:
    """The most frequent value, of several the first; None without any."""
    return next((value for value, _ in Counter(values).most_common(1)), None)
