"""Files that people submit: records as JSONL or Parquet, ids to delete as lines; read line by line.

`-` is standard input, which can be read once.
"""

from __future__ import annotations

import codecs
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from embedding_assets.errors import InputError
from embedding_assets.rows.record import checked_metadata, is_unicode, metadata_json
from embedding_assets.submission.tokens import count_tokens
from embedding_assets.text.bounded_text import MESSAGE_CHARS, bounded, shown

TOKENS_A_TEXT = 8192
"""OpenAI's limit of tokens of one text."""

ROWS_AT_ONCE = 1000
STANDARD_INPUT = Path("-")
PARQUET_BEGINS = b"PAR1"
FIELDS = ("id", "text", "document", "metadata")
"""Columns of a Parquet file that are read."""


@dataclass(frozen=True)
class Record:
    """One thing to embed. `metadata` is canonical JSON; `tokens` how many the model will count."""

    id: str
    text: str
    document: str
    metadata: str | None
    tokens: int


def read_records(path: Path, most_tokens: int = TOKENS_A_TEXT) -> Iterator[Record]:
    """Read records from JSONL or Parquet: what begins as Parquet does, or has a name that ends so, is Parquet.

    Raises InputError naming the file, the line and what is wrong with it; a file without records is wrong too.
    """
    seen: dict[str, int] = {}
    for number, value in _values(path):
        where = f"{name_of(path)} line {number}"
        record = _record(value, where, most_tokens)
        _refuse_repeated(seen, record.id, number, where)
        yield record
    if not seen:
        raise InputError(f"{name_of(path)} has no records")


def read_ids(path: Path) -> list[str]:
    """Read ids, one a line: as they are, as JSON text, or as a JSON object that has an `id`.

    Raises InputError as `read_records` does.
    """
    seen: dict[str, int] = {}
    for number, line in _lines(path):
        where = f"{name_of(path)} line {number}"
        try:
            text = line.decode().rstrip("\r\n")
        except ValueError as error:
            raise InputError(f"{where} is not UTF-8: {error}") from error
        value = _parsed(line, where) if text.startswith(("{", '"')) else text
        record_id = _checked_id(value.get("id") if isinstance(value, dict) else value, where)
        _refuse_repeated(seen, record_id, number, where)
    if not seen:
        raise InputError(f"{name_of(path)} has no ids")
    return list(seen)


def _refuse_repeated(seen: dict[str, int], record_id: str, number: int, where: str) -> None:
    if record_id in seen:
        raise InputError(f"{where}: the id {shown(record_id)} stands in line {seen[record_id]} already")
    seen[record_id] = number


def name_of(path: Path) -> str:
    """A file as messages name it."""
    return "standard input" if path == STANDARD_INPUT else str(path)


def _values(path: Path) -> Iterator[tuple[int, object]]:
    name = name_of(path)
    with _opened(path) as stream:
        first = stream.readline()
        if path.suffix.lower() == ".parquet" or first.startswith(PARQUET_BEGINS):
            with _seekable(stream, first) as whole:
                yield from _rows(whole, name)
            return
        for number, line in _not_empty(first, stream):
            yield number, _parsed(line, f"{name} line {number}")


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with _opened(path) as stream:
        yield from _not_empty(stream.readline(), stream)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        if path == STANDARD_INPUT:
            yield sys.stdin.buffer
        else:
            with path.open("rb") as stream:
                yield stream
    except OSError as error:
        raise InputError(f"{name_of(path)} cannot be read: {error.strerror or _one_line(error)}") from error


@contextmanager
def _seekable(stream: IO[bytes], first: bytes) -> Iterator[IO[bytes]]:
    """All of a stream of which `first` is read already."""
    if stream.seekable():
        stream.seek(0)
        yield stream
        return
    with tempfile.TemporaryFile(prefix="embedding-assets-input-") as whole:
        whole.write(first)
        shutil.copyfileobj(stream, whole)
        whole.seek(0)
        yield whole


def _not_empty(first: bytes, rest: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Lines that are not empty, with their numbers from 1, without a byte order mark."""
    number, line = 1, first.removeprefix(codecs.BOM_UTF8)
    while line:
        if line.strip():
            yield number, line
        number, line = number + 1, rest.readline()


def _rows(file: IO[bytes], name: str) -> Iterator[tuple[int, object]]:
    """Rows of a Parquet file, with their numbers from 1. Only the fields of a record are read."""
    number = 0
    try:
        with pq.ParquetFile(file) as parquet:
            names = parquet.schema_arrow.names
            twice = next((field for field in FIELDS if names.count(field) > 1), None)
            if twice is not None:
                raise InputError(f"{name} has several columns {twice}")
            for batch in parquet.iter_batches(ROWS_AT_ONCE, columns=list(FIELDS)):
                for row in _python_rows(batch, name, number):
                    number += 1
                    yield number, row
    except (pa.ArrowException, ValueError) as error:
        raise InputError(f"{name} is not a Parquet file that can be read: {_one_line(error)}") from error


def _python_rows(batch: pa.RecordBatch, name: str, before: int) -> list[Any]:
    """Rows as Python has them; `before` is how many rows came before. Invalid UTF-8, say, has no such value."""
    try:
        return list(batch.to_pylist())
    except (pa.ArrowException, ValueError, OverflowError):
        for number in range(batch.num_rows):
            for column in batch.schema.names:
                try:
                    batch.column(column)[number].as_py()
                except (pa.ArrowException, ValueError, OverflowError) as error:
                    why = (
                        "a time must be written as text"
                        if _has_time(batch.column(column).type)
                        else _one_line(error)
                    )
                    raise InputError(
                        f"{name} line {before + number + 1}: {column} cannot be read: {why}"
                    ) from error
        raise


def _has_time(kind: pa.DataType) -> bool:
    fields = (kind.field(number).type for number in range(kind.num_fields))
    return bool(pa.types.is_temporal(kind)) or any(map(_has_time, fields))


def _one_line(error: Exception) -> str:
    return bounded(" ".join(str(error).split()), MESSAGE_CHARS)


def _parsed(line: bytes, where: str) -> object:
    try:
        return json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON: {error}") from error


def _record(value: object, where: str, most_tokens: int) -> Record:
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
    if tokens > most_tokens:
        raise InputError(f"{where}: the text has {tokens} tokens, OpenAI takes {most_tokens}")
    return Record(record_id, text, document, metadata, tokens)


def _checked_id(record_id: object, where: str) -> str:
    if not isinstance(record_id, str) or not record_id:
        raise InputError(f"{where}: id must be text and not empty")
    if not is_unicode(record_id):
        raise InputError(f"{where}: id is not Unicode text (a lone surrogate)")
    return record_id
