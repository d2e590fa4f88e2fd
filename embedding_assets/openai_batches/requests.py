"""What a batch was asked to embed: its `records/` object, or else OpenAI's input file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from embedding_assets.errors import BatchError, InputError
from embedding_assets.snapshots.records import checked_metadata, is_unicode, metadata_json

LONG_NUMBER = re.compile(rb"\d{19}")
"""Digits that may be an integer of more than 64 bits."""


@dataclass(frozen=True)
class Request:
    """One record to embed, without its vector. `metadata` is canonical JSON; `text` None where it is unknown."""

    id: str
    document: str | None
    metadata: str | None
    input_sha256: str | None = None
    text: str | None = None


@dataclass(frozen=True)
class Requests:
    """All requests of a batch by id, in the order of the file; what its body asked for, if known.

    `lines` is the number of lines of the file that are not blank, readable or not.
    """

    by_id: dict[str, Request]
    model: str | None = None
    dimensions: int | None = None
    lines: int = 0


def read_records(path: Path, name: str) -> Requests:
    """Read `records/{batch_id}.jsonl`. Raises BatchError naming the line that is broken."""
    by_id: dict[str, Request] = {}
    lines = 0
    for number, line in _lines(path):
        lines += 1
        where = f"{name} line {number}"
        value = _object(line, where)
        try:
            metadata = metadata_json(checked_metadata(value.get("metadata")))
        except InputError as error:
            raise BatchError(f"{where}: {error}") from error
        document = value.get("document", value.get("text"))
        request = Request(
            id=_id(value.get("id"), where),
            document=_text(document, where, "document"),
            metadata=metadata,
            input_sha256=_text(value.get("input_sha256"), where, "input_sha256"),
            text=_text(value.get("text"), where, "text"),
        )
        if request.id in by_id:
            raise BatchError(f"{where}: the id {request.id!r} stands there for the second time")
        by_id[request.id] = request
    return Requests(by_id, lines=lines)


def read_input_file(path: Path, name: str) -> Requests:
    """Read a batch's OpenAI input file: `custom_id` is the id, `body.input` the document."""
    by_id: dict[str, Request] = {}
    model: str | None = None
    dimensions: int | None = None
    lines = 0
    for number, line in _lines(path):
        lines += 1
        where = f"{name} line {number}"
        value = _object(line, where)
        body = value.get("body")
        if not isinstance(body, dict):
            raise BatchError(f"{where}: there is no body")
        text = body.get("input")
        if isinstance(text, list) and len(text) == 1:
            text = text[0]
        told = _text(text, where, "body.input")
        request = Request(_id(value.get("custom_id"), where), told, None, text=told)
        by_id.setdefault(request.id, request)
        model = model or _text(body.get("model"), where, "body.model")
        asked = body.get("dimensions")
        dimensions = asked if isinstance(asked, int) and dimensions is None else dimensions
    return Requests(by_id, model, dimensions, lines)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                yield number, line


def _object(line: bytes, where: str) -> dict[str, Any]:
    """One line's object."""
    try:
        value = _parsed(line)
    except (ValueError, RecursionError) as error:
        raise BatchError(f"{where} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BatchError(f"{where} is not a JSON object")
    return value


def _parsed(line: bytes) -> Any:
    """What the standard library reads in a line. Of integers from 2^64 orjson makes floats: it gets none."""
    if not LONG_NUMBER.search(line):
        try:
            return orjson.loads(line)
        except orjson.JSONDecodeError:
            pass
    return json.loads(line.decode())


def _id(value: object, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise BatchError(f"{where}: the id must be text and not empty")
    return _unicode(value, where, "id")


def _text(value: object, where: str, name: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise BatchError(f"{where}: {name} must be text")
    return _unicode(value, where, name)


def _unicode(value: str, where: str, name: str) -> str:
    if not is_unicode(value):
        raise BatchError(f"{where}: {name} is not Unicode text (a lone surrogate)")
    return value
