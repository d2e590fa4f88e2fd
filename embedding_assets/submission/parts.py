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
from embedding_assets.rows.record import input_sha256, parse_metadata
from embedding_assets.submission.record_file import Record
from embedding_assets.text.bounded_text import shown

REQUESTS_A_BATCH = 50_000
BYTES_A_BATCH = 200 * 2**20
"""OpenAI's limits of one batch: requests, and bytes of its input file."""

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


@dataclass(frozen=True)
class Line:
    """One record of a part: as it will stand in `records/{batch_id}.jsonl`, and what the model will count.

    `input_sha256` is None for the deletion of an id.
    """

    id: str
    input_sha256: str | None
    tokens: int
    stored: bytes

    def request(self, asked: EmbeddingModel) -> bytes:
        """The line of OpenAI's input file."""
        return request_line(self.id, orjson.loads(self.stored)["text"], asked)


@dataclass(frozen=True)
class Part:
    """Records that become one batch at most. Its ids are functions of what it holds.

    `batch_ids` are the ids that its content has when it is submitted for the first, second, … time.
    """

    path: Path
    digest: str
    requests: int
    tokens: int
    deletion: bool = False

    def batch_ids(self) -> Iterator[str]:
        """The first is for content that was never submitted."""
        yield f"batch-{self.digest[:32]}"
        for again in count(2):
            yield f"batch-{self.digest[:32]}-{again}"

    def lines(self) -> Iterator[Line]:
        """Its records, in their order."""
        with self.path.open("rb") as stream:
            for line in stream:
                tokens, _, stored = line.partition(b" ")
                value = orjson.loads(stored)
                yield Line(value["id"], value.get("input_sha256"), int(tokens), stored)


def split(
    database: Database,
    records: Iterable[Record],
    asked: EmbeddingModel,
    folder: Path,
    limits: Limits | None = None,
) -> list[Part]:
    """Write `records`, in their order, as parts below `folder`.

    Raises InputError if one record alone has more tokens than may be enqueued.
    """
    limits = limits or Limits()
    parts: list[Part] = []
    growing: _Growing | None = None
    for record in records:
        if limits.tokens is not None and record.tokens > limits.tokens:
            raise InputError(
                f"record {shown(record.id)} has {record.tokens} tokens; EMBEDDING_ASSETS_ENQUEUED_TOKENS allows "
                f"{limits.tokens} at once"
            )
        size = len(request_line(record.id, record.text, asked))
        if growing is not None and not growing.takes(size, record.tokens, limits):
            parts.append(growing.close())
            growing = None
        growing = growing or _Growing(folder / f"part-{len(parts)}", database)
        growing.add(record, asked, size)
    if growing is not None:
        parts.append(growing.close())
    return parts


def split_deletions(database: Database, ids: Iterable[str], path: Path) -> Part:
    """Write ids that are to be deleted as one part, which OpenAI has nothing to do with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(database.batch_type.encode() + b"\n")
    requests = 0
    with path.open("wb") as sink:
        for record_id in ids:
            line = orjson.dumps({"id": record_id, "deleted": True}) + b"\n"
            digest.update(line)
            sink.write(b"0 " + line)
            requests += 1
    return Part(path, digest.hexdigest(), requests, 0, deletion=True)


@dataclass
class _Growing:
    """A part that is being written."""

    path: Path
    database: Database
    requests: int = 0
    size: int = 0
    tokens: int = 0
    _sink: IO[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._sink = self.path.open("wb")
        self._digest = hashlib.sha256(self.database.batch_type.encode() + b"\n")

    def takes(self, size: int, tokens: int, limits: Limits) -> bool:
        """Whether one more record of so many bytes and tokens keeps to the limits."""
        return (
            self.requests < limits.requests
            and self.size + size <= limits.size
            and (limits.tokens is None or self.tokens + tokens <= limits.tokens)
        )

    def add(self, record: Record, asked: EmbeddingModel, size: int) -> None:
        """Append one record."""
        line = line_of(record, asked).stored
        self._digest.update(line)
        self._sink.write(b"%d " % record.tokens + line)
        self.requests += 1
        self.size += size
        self.tokens += record.tokens

    def close(self) -> Part:
        """The part as it is now."""
        self._sink.close()
        return Part(self.path, self._digest.hexdigest(), self.requests, self.tokens)


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
    return Line(record.id, digest, record.tokens, orjson.dumps(stored) + b"\n")
