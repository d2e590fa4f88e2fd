"""Submitting: a file is checked whole before anything is sent, and the same content is sent once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedding_assets.cli.submit import submit_files
from embedding_assets.databases import LINES, WORDS, Database
from embedding_assets.errors import InputError
from embedding_assets.ledger.batch_summary import Status
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.openai_batches import submit
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.openai_batches.poll import Poller, records_key
from embedding_assets.openai_batches.submit import (
    Asked,
    PlannedSubmission,
    Record,
    count_tokens,
    price_usd,
    read_submission,
    send,
    split,
)
from embedding_assets.services import Services
from embedding_assets.snapshots.records import input_sha256
from embedding_assets.snapshots.store import Store
from embedding_assets_tests.answers import line
from embedding_assets_tests.conftest import OpenAIServer
from embedding_assets_tests.deltas import MODEL

ASKED = Asked(MODEL, 8)
VALUES: list[dict[str, Any]] = [
    {"id": "a", "text": "first", "document": "d", "metadata": {"n": 1, "k": "ä"}},
    {"id": "東京/b", "text": "second"},
]

Send = Callable[..., bool]


@pytest.fixture
def sent(store: Store, ledger: Ledger, openai: OpenAIBatches) -> Send:
    def act(planned: PlannedSubmission, database: Database = LINES, asked: Asked = ASKED) -> bool:
        return send(store, ledger, openai, database, planned, asked)

    return act


def jsonl(tmp_path: Path, *values: dict[str, Any], name: str = "in.jsonl") -> Path:
    path = tmp_path / name
    path.write_text("".join(map(line, values)), encoding="utf-8")
    return path


def test_jsonl_and_parquet_are_the_same(tmp_path: Path) -> None:
    """Document defaults to the text; metadata is canonical; tokens are counted."""
    rows = pa.table(
        {
            "id": [value["id"] for value in VALUES],
            "text": [value["text"] for value in VALUES],
            "document": [value.get("document") for value in VALUES],
            "metadata": [value.get("metadata") for value in VALUES],
        }
    )
    pq.write_table(rows, tmp_path / "in.parquet")
    found = read_submission(jsonl(tmp_path, *VALUES))
    assert found == read_submission(tmp_path / "in.parquet")
    assert found == [
        Record("a", "first", "d", '{"k":"ä","n":1}', 1),
        Record("東京/b", "second", "second", None, 1),
    ]


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("{", "JSON"),
        ("[]", "object"),
        ('{"text": "t"}', "id"),
        ('{"id": "", "text": "t"}', "id"),
        ('{"id": 7, "text": "t"}', "id"),
        ('{"id": "x"}', "text"),
        ('{"id": "x", "text": ""}', "text"),
        ('{"id": "x", "text": "t", "document": 7}', "document"),
        ('{"id": "x", "text": "t", "metadata": {"$a": 1}}', "'$a'"),
        ('{"id": "x", "text": "t", "metadata": {"a": 18446744073709551616}}', "'a'"),
        ('{"id": "x", "text": "' + "word " * 8300 + '"}', "8192"),
        ('{"id": "first", "text": "t"}', "'first'"),
    ],
    ids=lambda value: value[:40],
)
def test_a_broken_line_refuses_the_file(tmp_path: Path, broken: str, why: str) -> None:
    """In one line that names the file, the line and what is wrong."""
    path = tmp_path / "in.jsonl"
    path.write_text(line({"id": "first", "text": "t"}) + "\n" + broken + "\n", encoding="utf-8")
    with pytest.raises(InputError) as raised:
        read_submission(path)
    assert f"{path} line 3" in str(raised.value)
    assert why in str(raised.value).split("line 3", 1)[1]
    assert len(str(raised.value).splitlines()) == 1


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """Missing, empty, or no Parquet."""
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "no.parquet").write_text("text")
    for name, why in (("missing.jsonl", "No such file"), ("empty.jsonl", "no records"), ("no.parquet", "Parquet")):
        with pytest.raises(InputError, match=why) as raised:
            read_submission(tmp_path / name)
        assert name in str(raised.value)


def made(count: int, text: str = "t") -> list[Record]:
    return [Record(f"r{number}", text, text, None, 1) for number in range(count)]


def test_batches_stay_within_openais_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests a batch and bytes a batch; every record once, in order."""
    records = made(25)
    assert [len(one.records) for one in split(LINES, records, ASKED, most=10)] == [10, 10, 5]
    assert [record for one in split(LINES, records, ASKED, most=10) for record in one.records] == records
    size = len(submit._request_line(records[0], ASKED))
    monkeypatch.setattr(submit, "BYTES_A_BATCH", 4 * size)
    assert [len(one.records) for one in split(LINES, records[:10], ASKED)] == [4, 4, 2]
    assert split(LINES, [], ASKED) == []


def test_the_batch_id_is_a_function_of_what_is_asked() -> None:
    """The same content has the same id; another text, model, length or database another one."""
    [one] = split(LINES, made(3), ASKED)
    assert split(LINES, made(3), ASKED)[0].batch_id == one.batch_id
    others = [
        split(WORDS, made(3), ASKED),
        split(LINES, made(2), ASKED),
        split(LINES, made(3, "u"), ASKED),
        split(LINES, made(3), Asked(MODEL, 16)),
        split(LINES, made(3), Asked(MODEL, None)),
        split(LINES, made(3), Asked("text-embedding-3-large", 8)),
    ]
    assert len({other[0].batch_id for other in others} | {one.batch_id}) == 7
    assert one.tokens == 3


def test_a_sent_batch_can_be_polled(
    sent: Send, store: Store, ledger: Ledger, poller: Poller, openai_server: OpenAIServer, tmp_path: Path
) -> None:
    """Records, row and batch fit together: polling it embeds every record."""
    [planned] = split(LINES, read_submission(jsonl(tmp_path, *VALUES)), ASKED)
    assert sent(planned)
    row = ledger.get(planned.batch_id)
    assert (row.status, row.model, row.dimensions, row.request_count) == (Status.PENDING, MODEL, 8, 2)
    stored = [json.loads(text) for text in store.get(records_key(planned.batch_id)).splitlines()]
    assert stored == [
        {
            "id": "a",
            "text": "first",
            "document": "d",
            "metadata": {"n": 1, "k": "ä"},
            "input_sha256": input_sha256("first", "d", '{"k":"ä","n":1}', MODEL, 8),
        },
        {
            "id": "東京/b",
            "text": "second",
            "document": "second",
            "metadata": None,
            "input_sha256": input_sha256("second", "second", None, MODEL, 8),
        },
    ]
    result = poller.poll(row)
    while result.action == "wait":
        result = poller.poll(row)
    assert (result.embedding_count, result.failed_count, result.dimensions) == (2, 0, 8)


def test_the_same_content_is_sent_once(sent: Send, openai_server: OpenAIServer) -> None:
    """A second time costs nothing: no upload, no batch."""
    [planned] = split(LINES, made(3), ASKED)
    assert sent(planned)
    assert not sent(planned)
    assert openai_server.requests("POST /v1/batches") == 1


def test_the_same_content_for_another_database_is_another_batch(
    services: Services, openai_server: OpenAIServer, tmp_path: Path
) -> None:
    """Records of lines that are submitted to words too: both databases get them."""
    for database in (LINES, WORDS):
        submit_files(services, database, [jsonl(tmp_path, *VALUES)])
        assert len(services.ledger.live(database).ready_to_plan) == 1
    assert openai_server.requests("POST /v1/batches") == 2


def test_prices_and_tokens() -> None:
    """The Batch API's prices; a model that is not known here has none."""
    assert price_usd(1_000_000, MODEL) == 0.01
    assert price_usd(1, "another") is None
    assert count_tokens("hello world") == 2
    assert count_tokens("<|endoftext|>") > 1
