"""Writes whose answers get lost: recognised as ours by their id, and never taken for ours when they are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest

from embedding_assets.errors import PreconditionError
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.ledger.ledger import Ledger
from embedding_assets_tests.deltas import at
from embedding_assets_tests.faulty_dynamodb import Losing, losing_ledger

Write = Callable[[Ledger, BatchSummary], BatchSummary | None]

LIVE: dict[str, Write] = {
    "finish": lambda ledger, row: ledger.finish(row.batch_id, row.generation, Status.COMPLETED, {}),
    "observe": lambda ledger, row: ledger.observe(row.batch_id, row.generation, Status.CANCELING),
    "count_failure": lambda ledger, row: ledger.count_failure(row, "why"),
    "put_aside": lambda ledger, row: ledger.put_aside(row.batch_id, row.generation, "why"),
    "forget_failures": lambda ledger, row: ledger.forget_failures(row.batch_id, row.generation),
    "reset": lambda ledger, row: ledger.reset(row, Status.FAILED),
}
FINAL: dict[str, Write] = {
    "reopen": lambda ledger, row: ledger.reopen(row),
    "note_resubmission": lambda ledger, row: ledger.note_resubmission(row, "child"),
}


def new(status: Status) -> BatchSummary:
    return BatchSummary(
        batch_id="b1", openai_batch_id="o1", batch_type="LINE_EMBEDDING", status=status, submitted_at=at(0)
    )


@pytest.mark.parametrize("losing", get_args(Losing))
@pytest.mark.parametrize("write", [*LIVE, *FINAL])
def test_a_write_is_ours_though_its_answer_was_lost(ledger: Ledger, write: str, losing: Losing) -> None:
    """What is returned is the row as the write left it, not None and no error."""
    ledger.create(new(Status.COMPLETED if write in FINAL else Status.PENDING))
    act = {**LIVE, **FINAL}[write]
    created = _write_id(ledger)
    changed = act(losing_ledger(ledger, losing), ledger.get("b1"))
    assert changed is not None
    assert changed == ledger.get("b1")
    assert _write_id(ledger) != created


@pytest.mark.parametrize("losing", get_args(Losing))
def test_a_creation_is_ours_though_its_answer_was_lost(ledger: Ledger, losing: Losing) -> None:
    """The row is there once, and creating another one is still refused."""
    losing_ledger(ledger, losing).create(new(Status.PENDING))
    assert ledger.get("b1") == new(Status.PENDING)
    with pytest.raises(PreconditionError):
        losing_ledger(ledger, losing).create(new(Status.PENDING))


def test_what_another_wrote_is_not_ours(ledger: Ledger) -> None:
    """The condition failed because of another's write: None as ever, and reset says that it did nothing."""
    ledger.create(new(Status.PENDING))
    before = ledger.get("b1")
    assert ledger.finish("b1", 0, Status.COMPLETED, {}) is not None
    after = ledger.get("b1")
    assert ledger.finish("b1", 0, Status.FAILED, {}) is None
    with pytest.raises(PreconditionError, match="nothing was done"):
        ledger.reset(before, Status.FAILED)
    assert ledger.get("b1") == after


def test_a_write_that_another_has_overtaken_is_not_believed(ledger: Ledger) -> None:
    """Ours was applied, its answer lost, and somebody opened the batch again: the row is theirs now."""
    ledger.create(new(Status.PENDING))
    losing = losing_ledger(ledger, "sent again", between=lambda: _reopen(ledger))
    assert losing.finish("b1", 0, Status.COMPLETED, {}) is None
    assert (ledger.get("b1").status, ledger.get("b1").generation) == (Status.PENDING, 1)


def _write_id(ledger: Ledger) -> str:
    key = {"PK": {"S": "BATCH#b1"}, "SK": {"S": "STATUS"}}
    item = ledger.client.get_item(TableName=ledger.table, Key=key, ConsistentRead=True)["Item"]
    return str(item["write_id"]["S"])


def _reopen(ledger: Ledger) -> None:
    row = ledger.get("b1")
    if not row.status.live:
        ledger.reopen(row)
