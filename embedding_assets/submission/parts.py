"""Splitting: a stream of records becomes parts on disk, each within OpenAI's limits for one batch.

A part is a function of the file alone. What of it is sent is decided later, record by record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import IO

import orjson

from embedding_assets.databases import Database
from embedding_assets.errors import InputError
from embedding_assets.rows.record import input_sha256, parse_metadata, text_sha256
from embedding_assets.submission.record_file import Record
from embedding_assets.text.bounded_text import shown

REQUESTS_A_BATCH = 50_000
BYTES_A_BATCH = 200 * 2**20
"""OpenAI's limits of one batch: requests, and bytes of its input file."""
RECORDS_A_BATCH = 500_000
"""Records of one batch, some of which share a request: as many lines are read again at a time."""

DIMENSIONED = "text-embedding-3"
"""Models of this family take `dimensions`."""


@dataclass(frozen=True)
class EmbeddingModel:
    """What is asked of the model. `dimensions` None means the model's own."""

    model: str
    dimensions: int | None


@dataclass(frozen=True)
class Limits:
    """What one batch may have at most. `tokens` None means any number."""

    requests: int = REQUESTS_A_BATCH
    size: int = BYTES_A_BATCH
    tokens: int | None = None
    records: int = RECORDS_A_BATCH


AT_ONCE = Limits(requests=2048, tokens=300_000)
"""What one call of the embeddings endpoint may have at most: a batch that is embedded at once is one call."""


@dataclass(frozen=True)
class Line:
    """One record of a part: as it will stand in `records/{batch_id}.jsonl`, and what the model will count.

    `text_sha256` is equal for equal texts asked of the same model. Both hashes are None for the deletion of an id.
    """

    id: str
    input_sha256: str | None
    text_sha256: bytes | None
    tokens: int
    stored: bytes

    def request(self, asked: EmbeddingModel) -> bytes:
        """The line of OpenAI's input file."""
        return request_line(self.id, orjson.loads(self.stored)["text"], asked)

    def answered_as(self, request_id: str) -> bytes:
        """The line as it is stored if its answer arrives under the id of another record."""
        if request_id == self.id:
            return self.stored
        return orjson.dumps({**orjson.loads(self.stored), "request_id": request_id}) + b"\n"


@dataclass(frozen=True)
class Part:
    """Records that become at most one batch at OpenAI and one without it. Its ids are functions of its content.

    `records` is how many records it has, `requests` how many distinct texts, which have `tokens`.
    """

    path: Path
    digest: str
    records: int
    requests: int
    tokens: int
    deletion: bool = False

    def batch_ids(self, *, local: bool = False) -> Iterator[str]:
        """The ids that its content has when it is submitted for the first, second, … time.

        `local`: those of its records that are not sent to OpenAI.
        """
        digest = hashlib.sha256(f"local {self.digest}".encode()).hexdigest() if local else self.digest
        yield f"batch-{digest[:32]}"
        for again in count(2):
            yield f"batch-{digest[:32]}-{again}"

    def lines(self) -> Iterator[Line]:
        """Its records, in their order."""
        with self.path.open("rb") as stream:
            for line in stream:
                tokens, text, stored = line.split(b" ", 2)
                value = orjson.loads(stored)
                text_hash = bytes.fromhex(text.decode()) or None
                yield Line(value["id"], value.get("input_sha256"), text_hash, int(tokens), stored)


class Splitter:
    """Splits the files of one submission into parts below `folder`.

    Records with equal text are in the same part, so that they share a request; `singly`: each has its own.
    """

    def __init__(
        self,
        database: Database,
        asked: EmbeddingModel,
        folder: Path,
        limits: Limits | None = None,
        *,
        singly: bool = False,
    ) -> None:
        self._database = database
        self._asked = asked
        self._folder = folder
        self._limits = limits or Limits()
        self._singly = singly
        self._parts: list[_Growing] = []
        self._part_of_text: dict[bytes, _Growing] = {}
        self._ids: set[str] = set()

    def add(self, records: Iterable[Record]) -> None:
        """Split one file, in its order. Raises InputError if one record alone has more tokens than allowed."""
        first = len(self._parts)
        ids = set()
        for record in records:
            self._check(record)
            ids.add(record.id)
            line = line_of(record, self._asked)
            assert line.text_sha256 is not None, "a record has a text"
            there = self._part_of_text.get(line.text_sha256)
            if there is not None and there.records < self._limits.records and record.id not in self._ids:
                there.add(line)
                continue
            size = len(request_line(record.id, record.text, self._asked))
            growing = self._parts[-1] if len(self._parts) > first else None
            if growing is None or not growing.takes(size, record.tokens, self._limits):
                growing = _Growing(self._folder / f"part-{len(self._parts)}", self._database)
                self._parts.append(growing)
            growing.add_request(line, size)
            if not self._singly:
                self._part_of_text[line.text_sha256] = growing
        self._ids |= ids

    def close(self) -> list[Part]:
        """The parts, in the order in which they begin. They must not be used before."""
        return [growing.close() for growing in self._parts]

    def _check(self, record: Record) -> None:
        most = self._limits.tokens
        if most is not None and record.tokens > most:
            raise InputError(
                f"record {shown(record.id)} has {record.tokens} tokens; EMBEDDING_ASSETS_ENQUEUED_TOKENS allows "
                f"{most} at once"
            )


def split(
    database: Database,
    records: Iterable[Record],
    asked: EmbeddingModel,
    folder: Path,
    limits: Limits | None = None,
) -> list[Part]:
    """Write `records` as parts below `folder`; those with equal text are in the same part.

    Raises InputError if one record alone has more tokens than may be enqueued.
    """
    splitter = Splitter(database, asked, folder, limits)
    splitter.add(records)
    return splitter.close()


def split_deletions(database: Database, ids: Iterable[str], path: Path) -> Part:
    """Write ids that are to be deleted as one part, which OpenAI has nothing to do with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(database.batch_type.encode() + b"\n")
    records = 0
    with path.open("wb") as sink:
        for record_id in ids:
            line = orjson.dumps({"id": record_id, "deleted": True}) + b"\n"
            digest.update(line)
            sink.write(b"0  " + line)
            records += 1
    return Part(path, digest.hexdigest(), records, 0, 0, deletion=True)


@dataclass
class _Growing:
    """A part that is being written."""

    path: Path
    database: Database
    records: int = 0
    requests: int = 0
    size: int = 0
    tokens: int = 0
    _sink: IO[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._sink = self.path.open("wb")
        self._digest = hashlib.sha256(self.database.batch_type.encode() + b"\n")

    def takes(self, size: int, tokens: int, limits: Limits) -> bool:
        """Whether one more request of so many bytes and tokens keeps to the limits."""
        return (
            self.requests < limits.requests
            and self.records < limits.records
            and self.size + size <= limits.size
            and (limits.tokens is None or self.tokens + tokens <= limits.tokens)
        )

    def add(self, line: Line) -> None:
        """Append one record."""
        self._digest.update(line.stored)
        text = line.text_sha256.hex() if line.text_sha256 else ""
        self._sink.write(b"%d %s %s" % (line.tokens, text.encode(), line.stored))
        self.records += 1

    def add_request(self, line: Line, size: int) -> None:
        """Append one record whose text is none of those before."""
        self.add(line)
        self.requests += 1
        self.size += size
        self.tokens += line.tokens

    def close(self) -> Part:
        """The part as it is now."""
        self._sink.close()
        return Part(self.path, self._digest.hexdigest(), self.records, self.requests, self.tokens)


def request_line(record_id: str, text: str, asked: EmbeddingModel) -> bytes:
    """One line of OpenAI's input file. base64 makes the answers a third of what they are as numbers."""
    body: dict[str, object] = {"model": asked.model, "input": text, "encoding_format": "base64"}
    if asked.dimensions is not None:
        body["dimensions"] = asked.dimensions
    return orjson.dumps({"custom_id": record_id, "method": "POST", "url": "/v1/embeddings", "body": body}) + b"\n"


def line_of(record: Record, asked: EmbeddingModel) -> Line:
    """A record as a line of a part."""
    digest = input_sha256(record.text, record.document, record.metadata, asked.model, asked.dimensions)
    stored = {
        "id": record.id,
        "text": record.text,
        "document": record.document,
        "metadata": parse_metadata(record.metadata),
        "input_sha256": digest,
    }
    text = text_sha256(record.text, asked.model, asked.dimensions)
    return Line(record.id, digest, text, record.tokens, orjson.dumps(stored) + b"\n")
