"""Submitting: a file of records becomes OpenAI batches and their batch summaries.

A file is read whole and checked before anything is sent: one broken line refuses it. `records/{batch_id}.jsonl`
is written before the batch is created at OpenAI, the row after it.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
from pyarrow import ArrowInvalid

from embedding_assets.databases import Database
from embedding_assets.errors import InputError, PreconditionError
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.openai_batches.poll import records_key
from embedding_assets.snapshots.records import (
    checked_metadata,
    input_sha256,
    is_unicode,
    metadata_json,
    parse_metadata,
)
from embedding_assets.snapshots.store import Store

REQUESTS_A_BATCH = 50_000
BYTES_A_BATCH = 200 * 2**20
TOKENS_AN_INPUT = 8192
"""OpenAI's limits: requests and bytes of a batch's input file, tokens of one input."""

USD_A_MILLION_TOKENS = {
    "text-embedding-3-small": 0.01,
    "text-embedding-3-large": 0.065,
    "text-embedding-ada-002": 0.05,
}
"""OpenAI's prices in the Batch API."""

DIMENSIONED = "text-embedding-3"
"""Models of this family take `dimensions`."""


@dataclass(frozen=True)
class Record:
    """One thing to embed. `metadata` is canonical JSON; `tokens` how many the model will count."""

    id: str
    text: str
    document: str
    metadata: str | None
    tokens: int


@dataclass(frozen=True)
class Asked:
    """What is asked of the model. `dimensions` None means the model's own."""

    model: str
    dimensions: int | None


@dataclass(frozen=True)
class PlannedSubmission:
    """One batch to be: its id is a function of its content, its requests are within OpenAI's limits."""

    batch_id: str
    records: tuple[Record, ...]

    @property
    def tokens(self) -> int:
        """Tokens of all its inputs."""
        return sum(record.tokens for record in self.records)


def read_submission(path: Path) -> list[Record]:
    """Read records from JSONL, or from Parquet where the name ends so.

    Raises InputError naming the file, the line and what is wrong with it.
    """
    records: list[Record] = []
    seen: dict[str, int] = {}
    for number, value in _values(path):
        record = _record(value, f"{path} line {number}")
        if record.id in seen:
            raise InputError(
                f"{path} line {number}: the id {record.id!r} stands in line {seen[record.id]} already"
            )
        seen[record.id] = number
        records.append(record)
    if not records:
        raise InputError(f"{path} has no records")
    return records


def _values(path: Path) -> Iterator[tuple[int, object]]:
    try:
        if path.suffix == ".parquet":
            rows = pq.read_table(path).to_pylist()
            yield from enumerate(rows, start=1)
            return
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield number, _parsed(line, f"{path} line {number}")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except ArrowInvalid as error:
        raise InputError(f"{path} is not a Parquet file: {error}") from error


def _parsed(line: bytes, where: str) -> object:
    try:
        return json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON: {error}") from error


def _record(value: object, where: str) -> Record:
    if not isinstance(value, dict):
        raise InputError(f"{where} is not a JSON object")
    record_id, text = value.get("id"), value.get("text")
    if not isinstance(record_id, str) or not record_id:
        raise InputError(f"{where}: id must be text and not empty")
    if not isinstance(text, str) or not text:
        raise InputError(f"{where}: text must be text and not empty")
    document = value.get("document")
    if document is None:
        document = text
    if not isinstance(document, str):
        raise InputError(f"{where}: document must be text")
    for name, value_text in (("id", record_id), ("text", text), ("document", document)):
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


def count_tokens(text: str) -> int:
    """Tokens as OpenAI's embedding models count them (cl100k_base)."""
    return len(_encoding().encode_ordinary(text))


@lru_cache(maxsize=1)
def _encoding() -> Any:
    """The vocabulary, loaded on first use: it takes half a second that only a submission needs."""
    import bpe_openai

    return bpe_openai.get_encoding("cl100k_base")


def split(
    database: Database, records: Sequence[Record], asked: Asked, *, most: int = REQUESTS_A_BATCH
) -> list[PlannedSubmission]:
    """Split records, in their order, into batches within OpenAI's limits; `most` requests each."""
    batches: list[list[Record]] = []
    size = 0
    for record in records:
        line = len(_request_line(record, asked))
        if not batches or len(batches[-1]) == most or size + line > BYTES_A_BATCH:
            batches.append([])
            size = 0
        batches[-1].append(record)
        size += line
    return [PlannedSubmission(_batch_id(database, batch, asked), tuple(batch)) for batch in batches]


def _batch_id(database: Database, records: Iterable[Record], asked: Asked) -> str:
    digest = hashlib.sha256(database.batch_type.encode() + b"\n")
    for record in records:
        digest.update(_record_line(record, asked))
    return f"batch-{digest.hexdigest()[:32]}"


def _request_line(record: Record, asked: Asked) -> bytes:
    body: dict[str, object] = {"model": asked.model, "input": record.text, "encoding_format": "base64"}
    if asked.dimensions is not None:
        body["dimensions"] = asked.dimensions
    request = {"custom_id": record.id, "method": "POST", "url": "/v1/embeddings", "body": body}
    return orjson.dumps(request) + b"\n"


def _record_line(record: Record, asked: Asked) -> bytes:
    stored = {
        "id": record.id,
        "text": record.text,
        "document": record.document,
        "metadata": parse_metadata(record.metadata),
        "input_sha256": input_sha256(record.text, record.document, record.metadata, asked.model, asked.dimensions),
    }
    return orjson.dumps(stored) + b"\n"


def price_usd(tokens: int, model: str) -> float | None:
    """What so many tokens cost in the Batch API; None for a model whose price is not known here."""
    rate = USD_A_MILLION_TOKENS.get(model)
    return None if rate is None else tokens * rate / 1_000_000


def send(
    store: Store,
    ledger: Ledger,
    openai: OpenAIBatches,
    database: Database,
    planned: PlannedSubmission,
    asked: Asked,
) -> bool:
    """Submit one batch. False where its row is there already: the same content was submitted before."""
    if planned.batch_id in ledger.get_many([planned.batch_id]):
        return False
    with tempfile.TemporaryDirectory(prefix="embedding-assets-submit-") as name:
        records_file, requests_file = Path(name) / "records.jsonl", Path(name) / "requests.jsonl"
        with records_file.open("wb") as kept, requests_file.open("wb") as sent:
            for record in planned.records:
                kept.write(_record_line(record, asked))
                sent.write(_request_line(record, asked))
        store.upload_file(records_file, records_key(planned.batch_id))
        metadata = {"batch_id": planned.batch_id, "database": database.name}
        remote = openai.create_batch(requests_file, metadata)
    row = BatchSummary(
        batch_id=planned.batch_id,
        openai_batch_id=remote.id,
        batch_type=database.batch_type,
        status=Status.PENDING,
        submitted_at=datetime.now(UTC),
        model=asked.model,
        dimensions=asked.dimensions,
        request_count=len(planned.records),
    )
    try:
        ledger.create(row)
    except PreconditionError:
        return False
    return True
