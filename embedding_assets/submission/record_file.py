"""Files that people submit: records as JSONL or Parquet, ids to delete as lines; read line by line."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from pyarrow import ArrowInvalid

from embedding_assets.errors import InputError
from embedding_assets.snapshots.records import checked_metadata, is_unicode, metadata_json
from embedding_assets.submission.tokens import count_tokens

TOKENS_AN_INPUT = 8192
"""OpenAI's limit of tokens of one input."""

ROWS_AT_ONCE = 1000


@dataclass(frozen=True)
class Record:
    """One thing to embed. `metadata` is canonical JSON; `tokens` how many the model will count."""

    id: str
    text: str
    document: str
    metadata: str | None
    tokens: int


def read_records(path: Path) -> Iterator[Record]:
    """Read records from JSONL, or from Parquet where the name ends so.

    Raises InputError naming the file, the line and what is wrong with it; a file without records is wrong too.
    """
    seen: dict[str, int] = {}
    for number, value in _values(path):
        where = f"{path} line {number}"
        record = _record(value, where)
        _refuse_repeated(seen, record.id, number, where)
        yield record
    if not seen:
        raise InputError(f"{path} has no records")


def read_ids(path: Path) -> list[str]:
    """Read ids, one a line: as they are, as JSON text, or as a JSON object that has an `id`.

    Raises InputError as `read_records` does.
    """
    seen: dict[str, int] = {}
    for number, line in _lines(path):
        where = f"{path} line {number}"
        try:
            text = line.decode().rstrip("\r\n")
        except ValueError as error:
            raise InputError(f"{where} is not UTF-8: {error}") from error
        value = _parsed(line, where) if text.startswith(("{", '"')) else text
        record_id = _checked_id(value.get("id") if isinstance(value, dict) else value, where)
        _refuse_repeated(seen, record_id, number, where)
    if not seen:
        raise InputError(f"{path} has no ids")
    return list(seen)


def _refuse_repeated(seen: dict[str, int], record_id: str, number: int, where: str) -> None:
    if record_id in seen:
        raise InputError(f"{where}: the id {record_id!r} stands in line {seen[record_id]} already")
    seen[record_id] = number


def _values(path: Path) -> Iterator[tuple[int, object]]:
    if path.suffix != ".parquet":
        for number, line in _lines(path):
            yield number, _parsed(line, f"{path} line {number}")
        return
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except ArrowInvalid as error:
        raise InputError(f"{path} is not a Parquet file: {error}") from error


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Lines that are not empty, with their numbers from 1."""
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def _parsed(line: bytes, where: str) -> object:
    try:
        return json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON: {error}") from error


def _record(value: object, where: str) -> Record:
    if not isinstance(value, dict):
        raise InputError(f"{where} is not a JSON object")
    record_id = _checked_id(value.get("id"), where)
    text = value.get("text")
    if not isinstance(text, str) or not text:
        raise InputError(f"{where}: text must be text and not empty")
    document = value.get("document")
    if document is None:
        document = text
    if not isinstance(document, str):
        raise InputError(f"{where}: document must be text")
    for name, value_text in (("text", text), ("document", document)):
        if not is_unicode(value_text):
            raise InputError(f"{where}: {name} is not Unicode text (a lone surrogate)")
    try:
        metadata = metadata_json(checked_metadata(value.get("metadata")))
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    tokens = count_tokens(text)
    if tokens > TOKENS_AN_INPUT:
        raise InputError(f"{where}: the text has {tokens} tokens, OpenAI takes {TOKENS_AN_INPUT}")
    return Record(record_id, text, document, metadata, tokens)


def _checked_id(record_id: object, where: str) -> str:
    if not isinstance(record_id, str) or not record_id:
        raise InputError(f"{where}: id must be text and not empty")
    if not is_unicode(record_id):
        raise InputError(f"{where}: id is not Unicode text (a lone surrogate)")
    return record_id
