"""Records that do not fit: fewer lines than requests, none at all, ids that no answer has."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest

from embedding_assets.bucket.keys import errors_key, records_key
from embedding_assets.bucket.store import Store
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.openai_batches.poll import Poller
from embedding_assets.openai_batches.poll_result import read_errors
from embedding_assets.openai_batches.reasons import none_fits, wrong_number
from embedding_assets.openai_batches.reconcile import Reconciled
from embedding_assets_tests.answers import failed_line, input_lines, output_line
from embedding_assets_tests.conftest import OpenAIServer
from embedding_assets_tests.deltas import NOON, vector

ANSWERED = [f"r{number}" for number in range(20)]
OUTPUT = "".join(output_line(name, vector(number)) for number, name in enumerate(ANSWERED))


def row(**values: Any) -> BatchSummary:
    return BatchSummary(
        batch_id="b1",
        openai_batch_id="openai-b1",
        batch_type="LINE_EMBEDDING",
        status=Status.PENDING,
        submitted_at=NOON,
        **values,
    )


def keep(store: Store, ids: Sequence[str]) -> None:
    """Put the records of these ids there."""
    store.put(records_key("b1"), "".join(json.dumps({"id": one, "document": "d"}) + "\n" for one in ids).encode())


@pytest.mark.parametrize(
    ("lines", "request_count", "misfits"),
    [
        (20, 20, False),
        (20, None, False),
        (20, 0, False),
        (10, 20, True),
        (21, 20, True),
        (0, 20, True),
        (0, None, True),
    ],
)
def test_when_records_cannot_be_what_was_submitted(lines: int, request_count: int | None, misfits: bool) -> None:
    """Another number of lines than the row says, or none; the reason has both numbers."""
    reason = wrong_number("records/b1.jsonl", lines, request_count)
    assert (reason is not None) is misfits
    if reason is not None:
        assert f"records/b1.jsonl has {lines} line" in reason
        assert (str(request_count) in reason) is bool(request_count)


@pytest.mark.parametrize("status", ["completed", "expired", "failed"])
@pytest.mark.parametrize("kept", [10, 0])
def test_short_records_publish_nothing(
    store: Store, poller: Poller, openai_server: OpenAIServer, status: str, kept: int
) -> None:
    """20 requested and answered, 10 on record: FAILED, all 20 unfinished, none for a retry; no delta."""
    keep(store, ANSWERED[:kept])
    openai_server.plant("openai-b1", status=status, input=input_lines(ANSWERED), output=OUTPUT)
    result = poller.poll(row(request_count=20))
    assert (result.action, result.final_status, result.records_misfit) == ("handle_failure", Status.FAILED, True)
    assert (result.embedding_count, result.failed_count, result.unfinished_count) == (0, 0, 20)
    assert result.retryable_count == 0
    assert f"has {kept} lines, but the row's request_count is 20" in (result.message or "")
    assert list(store.list("lines/")) == []
    stored = store.find(errors_key("b1"))
    errors = read_errors(stored.data) if stored is not None else []
    assert [error.id for error in errors] == ANSWERED[:kept]
    assert not any(error.retryable for error in errors)


def test_openais_reason_comes_first(store: Store, poller: Poller, openai_server: OpenAIServer) -> None:
    """OpenAI failed the batch, and its records are short: both are said."""
    keep(store, ANSWERED[:10])
    openai_server.plant("openai-b1", status="failed", batch_errors=[{"code": "c", "message": "m"}])
    result = poller.poll(row(request_count=20))
    assert (result.message or "").startswith("c: m; records/b1.jsonl has 10 lines")


def test_mended_records_publish_what_is_paid_for(
    store: Store, poller: Poller, openai_server: OpenAIServer
) -> None:
    """Opened again with all 20 records: every embedding is there, nothing was sent again."""
    keep(store, ANSWERED[:10])
    openai_server.plant("openai-b1", input=input_lines(ANSWERED), output=OUTPUT)
    assert poller.poll(row(request_count=20)).records_misfit
    keep(store, ANSWERED)
    result = poller.poll(row(request_count=20, generation=1))
    assert (result.action, result.embedding_count, result.records_misfit) == ("process_results", 20, False)
    assert store.find(errors_key("b1")) is None


NEAR = {
    "case": ("Order-1", "order-1"),
    "trailing space": ("order-1 ", "order-1"),
    "normal form": ("caf\u00e9", "cafe\u0301"),
}


@pytest.mark.parametrize("how", NEAR)
def test_answers_of_which_none_fits(store: Store, poller: Poller, openai_server: OpenAIServer, how: str) -> None:
    """One id of each side, FAILED, nothing for a retry."""
    requested, answered = NEAR[how]
    keep(store, [requested])
    openai_server.plant("openai-b1", input=input_lines([answered]), output=output_line(answered, vector(1)))
    result = poller.poll(row())
    assert (result.action, result.final_status, result.records_misfit) == ("handle_failure", Status.FAILED, True)
    assert (result.unfinished_count, result.retryable_count, result.unknown_count) == (1, 0, 1)
    assert repr(requested) in (result.message or "")
    assert repr(answered) in (result.message or "")
    assert "none of the 1 answers fits" in (result.message or "")


def test_one_answer_that_fits_is_enough(store: Store, poller: Poller, openai_server: OpenAIServer) -> None:
    """Also a failed one: then the batch ends as its own answers say."""
    keep(store, ["r0", "r1"])
    openai_server.plant(
        "openai-b1", input=input_lines(["r0"]), output=output_line("R1", vector(1)), errors=failed_line("r0")
    )
    result = poller.poll(row())
    assert (result.records_misfit, result.failed_count, result.unfinished_count) == (False, 1, 1)
    assert "server_error" in (result.message or "")


def test_long_ids_are_cut() -> None:
    """The reason stays short whatever the ids are."""
    found = Reconciled(unknown=1, unknown_example="x" * 5000)
    found.errors["y" * 5000] = read_errors(b'{"id":"y","reason":"unfinished","code":"no_answer","message":""}')[0]
    reason = none_fits(found)
    assert reason is not None
    assert len(reason) < 400


def test_an_output_without_a_readable_id_is_not_called_no_output(
    poller: Poller, openai_server: OpenAIServer
) -> None:
    """In another encoding, say: the reason counts its lines, so that nobody looks for a batch without answers."""
    openai_server.plant(
        "openai-b1",
        input=input_lines(["r0"]),
        output_base64=base64.b64encode(output_line("r0", vector(0)).encode("utf-16-le")).decode(),
    )
    result = poller.poll(row())
    assert (result.action, result.final_status, result.unfinished_count) == ("handle_failure", Status.FAILED, 1)
    assert result.message == "OpenAI says completed, but no id can be read in the 2 lines that it delivered"
