"""Rows: what another program wrote is read as it is, or refused with a reason."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from embedding_assets.ledger.batch_summary import (
    LIVE,
    BatchSummary,
    Refused,
    Status,
    format_instant,
    parse_instant,
    parse_row,
)
from embedding_assets.ledger.ids import is_batch_id

REQUIRED = {
    "PK": "BATCH#b1",
    "SK": "STATUS",
    "GSI1PK": "STATUS#PENDING",
    "GSI1SK": "BATCH_TYPE#LINE_EMBEDDING#BATCH_ID#b1",
    "TYPE": "BATCH_SUMMARY",
    "batch_id": "b1",
    "openai_batch_id": "batch_abc",
    "status": "PENDING",
    "submitted_at": "2026-01-02T12:00:00+01:00",
    "batch_type": "LINE_EMBEDDING",
}


def row(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in {**REQUIRED, **changes}.items() if value is not ...}


def test_the_required_attributes_alone_are_enough() -> None:
    """A row of another program is a batch, with generation 0 and its submission as its precedence."""
    parsed = parse_row(row())
    assert isinstance(parsed, BatchSummary)
    noon = datetime(2026, 1, 2, 11, tzinfo=UTC)
    assert (parsed.submitted_at, parsed.precedence_at, parsed.precedence) == (noon, noon, noon)
    assert (parsed.generation, parsed.ingest_attempts, parsed.set_aside) == (0, 0, None)


def test_our_own_attributes_are_read() -> None:
    """Numbers come from DynamoDB as Decimal; attributes that are nobody's here are no error."""
    parsed = parse_row(
        row(
            generation=Decimal("2"),
            precedence_at="2026-01-01T00:00:00Z",
            dimensions=Decimal("1536"),
            set_aside="reason",
            result_file_id={"a": Decimal("1.5")},
            tags={"x"},
        )
    )
    assert isinstance(parsed, BatchSummary)
    assert (parsed.generation, parsed.dimensions, parsed.set_aside) == (2, 1536, "reason")
    assert parsed.precedence == datetime(2026, 1, 1, tzinfo=UTC)


def test_without_a_batch_id_the_key_has_it() -> None:
    """The replaced system writes none; if it is there it must agree, also if it is empty."""
    parsed = parse_row(row(batch_id=...))
    assert isinstance(parsed, BatchSummary)
    assert parsed == parse_row(row())
    for other in ("", "b2", None):
        assert isinstance(parse_row(row(batch_id=other)), Refused)
    assert isinstance(parse_row(row(batch_id=..., PK="BATCH#a/b")), Refused)
    assert isinstance(parse_row(row(batch_id=..., PK="b1")), Refused)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"TYPE": "OTHER"}, "TYPE"),
        ({"TYPE": ...}, "TYPE"),
        ({"openai_batch_id": ...}, "openai_batch_id is missing"),
        ({"openai_batch_id": ""}, "openai_batch_id"),
        ({"batch_type": ""}, "batch_type"),
        ({"status": ...}, "status is missing"),
        ({"status": "pending"}, "status"),
        ({"submitted_at": ...}, "submitted_at is missing"),
        ({"submitted_at": "2026-01-02T12:00:00"}, "submitted_at"),
        ({"submitted_at": "yesterday"}, "submitted_at"),
        ({"precedence_at": "2026-01-02"}, "precedence_at"),
        ({"generation": Decimal("0.5")}, "generation"),
        ({"generation": Decimal("-1")}, "generation"),
        ({"generation": Decimal(10) ** 25}, "generation"),
        ({"ingest_attempts": Decimal("-5")}, "ingest_attempts"),
        ({"dimensions": Decimal("-3")}, "dimensions"),
        ({"dimensions": Decimal(10) ** 30}, "dimensions"),
        ({"request_count": Decimal("-1")}, "request_count"),
        ({"batch_id": "other"}, "PK"),
        ({"PK": "BATCH#other"}, "PK"),
        ({"GSI1PK": "STATUS#COMPLETED"}, "disagree"),
        ({"GSI1SK": "BATCH_TYPE#WORD_EMBEDDING#BATCH_ID#b1"}, "GSI1SK"),
        ({"GSI1SK": "BATCH_TYPE#LINE_EMBEDDING#BATCH_ID#b2"}, "GSI1SK"),
        ({"PK": "BATCH#a/b", "batch_id": "a/b"}, "batch_id"),
    ],
)
def test_a_malformed_row_is_refused_with_its_reason(changes: dict[str, Any], reason: str) -> None:
    """In one line that names the attribute; the row's batch is named too, by its key.

    A number that goes through the merge and cannot be right would end the execution of every other batch.
    """
    refused = parse_row(row(**changes))
    assert isinstance(refused, Refused)
    assert reason in refused.reason
    assert len(refused.reason.splitlines()) == 1
    assert f"BATCH#{refused.batch_id}" == row(**changes)["PK"]


@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        ("b", True),
        ("A-z_0", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("", False),
        ("a/b", False),
        ("a b", False),
        ("a\n", False),
        ("ä", False),
        ("..", False),
        ("20260102T120000Z-0123abcd", False),
        ("20260102T120000Z-0123ABCD", True),
        ("x20260102T120000Z-0123abcd", True),
    ],
)
def test_batch_ids(value: str, allowed: bool) -> None:
    """Safe as a partition key and an S3 prefix, and never to be taken for an execution."""
    assert is_batch_id(value) is allowed


def test_live_and_final_statuses() -> None:
    """Five are live, four are final."""
    assert [str(status) for status in LIVE] == ["PENDING", "VALIDATING", "IN_PROGRESS", "FINALIZING", "CANCELING"]
    assert {str(status) for status in Status if not status.live} == {"COMPLETED", "FAILED", "EXPIRED", "CANCELLED"}


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-01-02T12:00:00Z", datetime(2026, 1, 2, 12, tzinfo=UTC)),
        ("2026-01-02T12:00:00.25+00:00", datetime(2026, 1, 2, 12, microsecond=250_000, tzinfo=UTC)),
        ("2026-01-02T00:00:00-08:00", datetime(2026, 1, 2, 8, tzinfo=UTC)),
    ],
)
def test_instants_are_compared_as_instants(text: str, instant: datetime) -> None:
    """With `Z` or an offset, in UTC afterwards, written with `Z`."""
    assert parse_instant(text) == instant
    assert parse_instant(format_instant(instant)) == instant
    assert format_instant(instant).endswith("Z")
