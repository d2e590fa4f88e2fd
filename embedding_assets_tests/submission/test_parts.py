"""Splitting: within OpenAI's limits, in order, and by the file alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from embedding_assets.databases import LINES, WORDS, Database
from embedding_assets.errors import InputError
from embedding_assets.rows.record import input_sha256
from embedding_assets.submission.parts import (
    EmbeddingModel,
    Limits,
    Part,
    Splitter,
    request_line,
    split,
    split_deletions,
)
from embedding_assets.submission.record_file import Record
from embedding_assets.submission.tokens import count_tokens, price_usd
from embedding_assets_tests.deltas import MODEL

ASKED = EmbeddingModel(MODEL, 8)
Split = Callable[..., list[Part]]


def made(count: int, text: str = "t", tokens: int = 1) -> list[Record]:
    """Records of distinct texts."""
    texts = [f"{text} {number:05}" for number in range(count)]
    return [Record(f"r{number:05}", one, one, None, tokens) for number, one in enumerate(texts)]


@pytest.fixture
def parts(tmp_path: Path) -> Split:
    """Splits, each time below a folder of its own."""

    def act(
        records: list[Record],
        limits: Limits | None = None,
        database: Database = LINES,
        asked: EmbeddingModel = ASKED,
    ) -> list[Part]:
        return split(database, records, asked, tmp_path / str(len(list(tmp_path.iterdir()))), limits)

    return act


def test_parts_stay_within_the_limits(parts: Split) -> None:
    """Requests, bytes and tokens; every record once, in order."""
    records = made(25)
    assert [one.requests for one in parts(records, Limits(requests=10))] == [10, 10, 5]
    split_up = parts(records, Limits(requests=10))
    assert [line.id for one in split_up for line in one.lines()] == [record.id for record in records]
    size = len(request_line("r00000", "t 00000", ASKED))
    assert [one.requests for one in parts(records[:10], Limits(size=4 * size))] == [4, 4, 2]
    assert [one.requests for one in parts(made(10, tokens=3), Limits(tokens=11))] == [3, 3, 3, 1]
    assert [one.tokens for one in parts(made(10, tokens=3), Limits(tokens=11))] == [9, 9, 9, 3]
    assert parts([]) == []


def test_the_limits_are_openais(parts: Split) -> None:
    """50,000 requests and 200 MB of requests."""
    assert Limits() == Limits(requests=50_000, size=209_715_200, tokens=None, records=500_000)
    assert [one.requests for one in parts(made(50_001))] == [50_000, 1]


def test_equal_texts_are_in_one_part(parts: Split) -> None:
    """Also where the part is full of requests already, but not above its number of records."""
    texts = ["a", "b", "c", "a", "b", "d", "a"]
    records = [Record(f"r{number}", text, text, None, 3) for number, text in enumerate(texts)]
    first, second = parts(records, Limits(requests=2))
    assert [line.id for line in first.lines()] == ["r0", "r1", "r3", "r4", "r6"]
    assert [line.id for line in second.lines()] == ["r2", "r5"]
    assert [(one.records, one.requests, one.tokens) for one in (first, second)] == [(5, 2, 6), (2, 2, 6)]
    assert [one.records for one in parts(records, Limits(requests=2, records=3))] == [3, 2, 2]


def test_files_of_one_submission_share_texts(tmp_path: Path) -> None:
    """But an id that two files have is never twice in one part."""
    splitter = Splitter(LINES, ASKED, tmp_path)
    splitter.add([Record("a", "x", "x", None, 1), Record("b", "y", "y", None, 1)])
    splitter.add([Record("a", "y", "y", None, 1), Record("c", "x", "x", None, 1)])
    assert [[line.id for line in part.lines()] for part in splitter.close()] == [["a", "b", "c"], ["a"]]


def test_singly_nothing_is_shared(tmp_path: Path) -> None:
    """Then a part has as many records as requests."""
    splitter = Splitter(LINES, ASKED, tmp_path, Limits(requests=2), singly=True)
    splitter.add([Record(f"r{number}", "x", "x", None, 1) for number in range(3)])
    assert [(part.records, part.requests) for part in splitter.close()] == [(2, 2), (1, 1)]


def test_a_record_above_the_budget_is_refused(parts: Split) -> None:
    """It could never be enqueued."""
    with pytest.raises(InputError, match=r"record 'r00000' has 12 tokens; .*ENQUEUED_TOKENS allows 11"):
        parts(made(1, tokens=12), Limits(tokens=11))


def test_the_ids_are_functions_of_the_content(parts: Split, tmp_path: Path) -> None:
    """The same content has the same ids; another text, model, length or database others."""

    def first(*arguments: object, **options: object) -> str:
        return next(parts(*arguments, **options)[0].batch_ids())

    one = parts(made(3))[0].batch_ids()
    again = parts(made(3))[0].batch_ids()
    three = [next(one) for _ in range(3)]
    assert three == [next(again) for _ in range(3)]
    assert len(set(three)) == 3
    others = {
        first(made(3), database=WORDS),
        first(made(2)),
        first(made(3, "u")),
        first(made(3), asked=EmbeddingModel(MODEL, 16)),
        first(made(3), asked=EmbeddingModel(MODEL, None)),
        first(made(3), asked=EmbeddingModel("text-embedding-3-large", 8)),
        next(split_deletions(LINES, ["r00000", "r00001", "r00002"], tmp_path / "gone").batch_ids()),
    }
    assert len(others | set(three)) == 10


def test_what_is_stored_and_what_is_asked(parts: Split) -> None:
    """Two lines for a record: ours, and OpenAI's."""
    [part] = parts([Record("東京/b", "text", "document", '{"k":"ä","n":1}', 7)])
    [line] = part.lines()
    digest = input_sha256("text", "document", '{"k":"ä","n":1}', MODEL, 8)
    assert (line.id, line.tokens, line.input_sha256) == ("東京/b", 7, digest)
    assert json.loads(line.stored) == {
        "id": "東京/b",
        "text": "text",
        "document": "document",
        "metadata": {"k": "ä", "n": 1},
        "input_sha256": digest,
    }
    assert json.loads(line.request(ASKED)) == {
        "custom_id": "東京/b",
        "method": "POST",
        "url": "/v1/embeddings",
        "body": {"model": MODEL, "input": "text", "encoding_format": "base64", "dimensions": 8},
    }
    assert "dimensions" not in json.loads(line.request(EmbeddingModel("text-embedding-ada-002", None)))["body"]


def test_deletions_are_one_part(tmp_path: Path) -> None:
    """Without tokens, and without an input."""
    part = split_deletions(LINES, ["a", "東京/b"], tmp_path / "gone")
    assert (part.records, part.requests, part.tokens, part.deletion) == (2, 0, 0, True)
    assert [(line.id, line.input_sha256) for line in part.lines()] == [("a", None), ("東京/b", None)]
    assert [json.loads(line.stored) for line in part.lines()] == [
        {"id": "a", "deleted": True},
        {"id": "東京/b", "deleted": True},
    ]


def test_prices_and_tokens() -> None:
    """The Batch API's prices; a model that is not known here has none."""
    assert price_usd(1_000_000, MODEL) == 0.01
    assert price_usd(1, "another") is None
    assert count_tokens("hello world") == 2
    assert count_tokens("<|endoftext|>") > 1
