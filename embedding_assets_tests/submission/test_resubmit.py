"""Resubmitting: only what a retry can help, with its parent's precedence, so often and no more."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from embedding_assets.bucket.keys import errors_key, records_key
from embedding_assets.bucket.store import Store
from embedding_assets.databases import LINES
from embedding_assets.errors import BatchError, InputError, TransientError
from embedding_assets.ledger.batch_summary import BatchSummary, Status, format_instant
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.openai_batches.poll_result import RequestError
from embedding_assets.submission.parts import EmbeddingModel
from embedding_assets.submission.resubmit import Policy, Resubmitter, may_be_resubmitted
from embedding_assets.submission.sender import Sender
from embedding_assets_tests.answers import line
from embedding_assets_tests.conftest import OpenAIServer
from embedding_assets_tests.deltas import MODEL, at

POLICY = Policy(max_attempts=3, first_wait=timedelta(minutes=15))
LOST = RequestError(id="lost", reason="unfinished", code="batch_expired", message="")
BUSY = RequestError(id="busy", reason="failed", code="rate_limit_exceeded", message="", status_code=429)
WRONG = RequestError(id="wrong", reason="failed", code="invalid_request", message="", status_code=400)

Ended = Callable[..., BatchSummary]


@pytest.fixture
def resubmitter(store: Store, ledger: Ledger, openai: OpenAIBatches) -> Resubmitter:
    """Resubmits batches of lines."""
    sender = Sender(store, ledger, openai, LINES, 1.0, first_wait_seconds=0.01)
    return Resubmitter(sender, EmbeddingModel(MODEL, 8), POLICY)


@pytest.fixture
def ended(store: Store, ledger: Ledger) -> Ended:
    """A final batch, with its errors and the records that it was submitted with."""

    def make(*errors: RequestError, batch_id: str = "parent", kept: bool = True, **row: object) -> BatchSummary:
        values = {
            "openai_batch_id": f"openai-{batch_id}",
            "submitted_at": at(0),
            "completed_at": format_instant(datetime.now(UTC)),
            "status": Status.EXPIRED,
            "model": MODEL,
            "dimensions": 8,
            "retryable_count": sum(error.retryable for error in errors),
            **row,
        }
        made = BatchSummary.model_validate({"batch_id": batch_id, "batch_type": LINES.batch_type, **values})
        ledger.create(made)
        store.put(errors_key(batch_id), "\n".join(one.model_dump_json() for one in errors).encode())
        if kept:
            records = [
                {"id": one.id, "text": f"text of {one.id}", "document": "shown", "metadata": {"n": 1}}
                for one in errors
            ]
            store.put(records_key(batch_id), "".join(map(line, records)).encode())
        return ledger.get(batch_id)

    return make


def test_only_what_a_retry_can_help(
    resubmitter: Resubmitter, ended: Ended, ledger: Ledger, store: Store, openai_server: OpenAIServer
) -> None:
    """The child tells its parent and its attempt; the parent tells its child."""
    sent = resubmitter.resubmit(ended(LOST, BUSY, WRONG))
    assert (sent.requests, sent.skipped, sent.tokens) == (2, 0, 6)
    [child_id] = sent.batches
    child, parent = ledger.get(child_id), ledger.get("parent")
    assert parent.resubmitted_as == child_id
    assert (child.status, child.attempt, child.parent_batch_id) == (Status.PENDING, 2, "parent")
    assert (child.precedence, child.request_count, child.model, child.dimensions) == (at(0), 2, MODEL, 8)
    assert child.submitted_at > at(0)
    stored = [json.loads(text) for text in store.get(records_key(child_id)).splitlines()]
    assert [(one["id"], one["text"], one["document"], one["metadata"]) for one in stored] == [
        ("lost", "text of lost", "shown", {"n": 1}),
        ("busy", "text of busy", "shown", {"n": 1}),
    ]
    assert openai_server.requests("POST /v1/batches") == 1


def test_once(resubmitter: Resubmitter, ended: Ended, ledger: Ledger, openai_server: OpenAIServer) -> None:
    """A second time names the child; where the parent was not told, the child is found and not made again."""
    parent = ended(LOST)
    [child_id] = resubmitter.resubmit(parent).batches
    with pytest.raises(InputError, match=f"was resubmitted as {child_id}"):
        resubmitter.resubmit(ledger.get("parent"))
    resubmitter.resubmit(parent)
    assert openai_server.requests("POST /v1/batches") == 1


def test_attempts_are_bounded(resubmitter: Resubmitter, ended: Ended) -> None:
    """The third is the last."""
    assert resubmitter.resubmit(ended(LOST, attempt=2)).requests == 1
    with pytest.raises(InputError, match=r"attempt 3 of the 3 that EMBEDDING_ASSETS_MAX_ATTEMPTS"):
        resubmitter.resubmit(ended(LOST, batch_id="third", attempt=3))


def test_what_cannot_be_helped_is_not_sent(
    resubmitter: Resubmitter, ended: Ended, openai_server: OpenAIServer
) -> None:
    """Nothing but refused requests, or no errors at all."""
    assert resubmitter.resubmit(ended(WRONG)).batches == []
    assert resubmitter.resubmit(ended(batch_id="fine")).batches == []
    assert openai_server.requests("POST /v1/files") == 0


def test_live_batches_and_deletions_are_refused(resubmitter: Resubmitter, ended: Ended) -> None:
    """With what to do instead."""
    with pytest.raises(InputError, match="is PENDING"):
        resubmitter.resubmit(ended(LOST, status=Status.PENDING))
    with pytest.raises(InputError, match="reprocess"):
        resubmitter.resubmit(ended(batch_id="gone", deletion_count=2))


def test_what_was_submitted_later_is_not_sent_again(
    resubmitter: Resubmitter, ended: Ended, ledger: Ledger, store: Store
) -> None:
    """It would be paid for in vain: the later one wins."""
    parent = ended(LOST, BUSY)
    row = {"openai_batch_id": "o", "batch_type": LINES.batch_type, "status": Status.PENDING}
    ledger.create(BatchSummary.model_validate({"batch_id": "later", "submitted_at": at(1), **row}))
    store.put(records_key("later"), b'{"id": "busy"}\n')
    sent = resubmitter.resubmit(parent)
    assert (sent.requests, sent.skipped) == (1, 1)
    assert b'"busy"' not in store.get(records_key(sent.batches[0]))


@pytest.mark.parametrize("batch_id", ["a-batch", "zzz"])
def test_what_a_child_embedded_is_not_sent_again_after_a_reprocess(
    resubmitter: Resubmitter, ended: Ended, ledger: Ledger, store: Store, batch_id: str
) -> None:
    """The child has its parent's precedence: neither of the two ids may decide whether it counts."""
    parent = ended(LOST, batch_id=batch_id)
    [child] = resubmitter.resubmit(parent).batches
    again = ledger.reopen(ledger.get(batch_id))
    row = ledger.finish(batch_id, again.generation, Status.EXPIRED, {"retryable_count": 1})
    assert row is not None
    sent = resubmitter.resubmit(row)
    assert (sent.requests, sent.skipped) == (0, 1)
    assert [one.batch_id for one in ledger.live(LINES).ready_to_plan] == [child]


def test_nothing_left_is_noted(resubmitter: Resubmitter, ended: Ended, ledger: Ledger, store: Store) -> None:
    """Else a sensor would come back to it for ever."""
    parent = ended(LOST)
    row = {"openai_batch_id": "o", "batch_type": LINES.batch_type, "status": Status.PENDING}
    ledger.create(BatchSummary.model_validate({"batch_id": "later", "submitted_at": at(1), **row}))
    store.put(records_key("later"), b'{"id": "lost"}\n')
    assert may_be_resubmitted(parent, POLICY)
    assert resubmitter.resubmit(parent).batches == []
    assert not may_be_resubmitted(ledger.get("parent"), POLICY)


def test_texts_come_from_openai_where_we_have_none(
    resubmitter: Resubmitter, ended: Ended, store: Store, openai_server: OpenAIServer
) -> None:
    """Batches of other programs: without `records/`, or with one that has documents alone."""
    asked = "".join(
        line({"custom_id": name, "body": {"model": MODEL, "input": f"asked of {name}"}})
        for name in ("lost", "busy")
    )
    openai_server.plant("openai-parent", status="expired", input=asked)
    openai_server.plant("openai-other", status="expired", input=asked)
    found = resubmitter.resubmit(ended(LOST, BUSY, kept=False))
    stored = [json.loads(text) for text in store.get(records_key(found.batches[0])).splitlines()]
    assert [(one["text"], one["document"]) for one in stored] == [(f"asked of {n}",) * 2 for n in ("lost", "busy")]
    other = ended(LOST, batch_id="other", kept=False, submitted_at=at(1))
    store.put(records_key("other"), b'{"id": "lost", "document": "shown", "metadata": {"n": 2}}\n')
    found = resubmitter.resubmit(other)
    [kept] = [json.loads(text) for text in store.get(records_key(found.batches[0])).splitlines()]
    assert (kept["text"], kept["document"], kept["metadata"]) == ("asked of lost", "shown", {"n": 2})


def test_texts_that_are_nowhere(resubmitter: Resubmitter, ended: Ended, openai_server: OpenAIServer) -> None:
    """Told, and nothing is sent."""
    with pytest.raises(BatchError, match="nor OpenAI has its texts"):
        resubmitter.resubmit(ended(LOST, kept=False))
    assert openai_server.requests("POST /v1/files") == 0


def test_requests_without_a_text_keep_no_other_from_being_sent(
    resubmitter: Resubmitter, ended: Ended, store: Store, openai_server: OpenAIServer
) -> None:
    """Token ids cannot be sent again from here: the others are, and a warning says how many are left out."""
    bodies = {"lost": "text of lost", "busy": [101, 102]}
    asked = "".join(line({"custom_id": name, "body": {"input": text}}) for name, text in bodies.items())
    openai_server.plant("openai-parent", status="expired", input=asked)
    warned: list[str] = []
    telling = replace(resubmitter, sender=replace(resubmitter.sender, progress=warned.append))
    found = telling.resubmit(ended(LOST, BUSY, kept=False))
    stored = [json.loads(text) for text in store.get(records_key(found.batches[0])).splitlines()]
    assert [one["id"] for one in stored] == ["lost"]
    [warning] = [one for one in warned if one.startswith("warning: ")]
    assert "1 of 2 requests have no text that can be sent, 'busy' for one" in warning


def test_a_file_that_openai_deleted_ends_it(
    resubmitter: Resubmitter, ended: Ended, ledger: Ledger, openai_server: OpenAIServer
) -> None:
    """An error of this batch alone, and nothing comes back to it."""
    planted = openai_server.plant("openai-parent", status="expired", input="{}")
    openai_server.delete_file(planted["input_file_id"])
    with pytest.raises(BatchError, match="OpenAI has deleted the file with its texts"):
        resubmitter.resubmit(ended(LOST, kept=False))
    assert ledger.get("parent").retryable_count == 0


def test_a_token_limit_waits(resubmitter: Resubmitter, ended: Ended) -> None:
    """Twice as long each time, unless somebody insists."""
    for attempt, minutes in ((1, 15), (2, 30)):
        limit = RequestError(id=f"a{attempt}", reason="unfinished", code="token_limit_exceeded", message="")
        ended_at = datetime.now(UTC) - timedelta(minutes=minutes - 1)
        row = ended(limit, batch_id=f"b{attempt}", attempt=attempt, completed_at=format_instant(ended_at))
        with pytest.raises(InputError, match=r"waits until .* --now sends it at once"):
            resubmitter.resubmit(row)
        earlier = row.model_copy(update={"completed_at": format_instant(ended_at - timedelta(minutes=2))})
        assert replace(resubmitter, dry_run=True).resubmit(earlier).requests == 1
        assert resubmitter.resubmit(row, now=True).requests == 1


def test_a_dry_run_sends_nothing(
    resubmitter: Resubmitter, ended: Ended, ledger: Ledger, openai_server: OpenAIServer
) -> None:
    """And says the very same."""
    parent = ended(LOST, BUSY)
    dry = replace(resubmitter, dry_run=True).resubmit(parent)
    assert ledger.get("parent") == parent
    assert openai_server.requests("POST /v1/files") == 0
    assert resubmitter.resubmit(parent) == dry


def test_a_batch_that_was_reprocessed_may_be_resubmitted_again(
    resubmitter: Resubmitter, ended: Ended, ledger: Ledger
) -> None:
    """Under another id: it ended once more."""
    first = resubmitter.resubmit(ended(LOST)).batches
    again = ledger.reopen(ledger.get("parent"))
    assert again.resubmitted_as is None
    row = ledger.finish("parent", again.generation, Status.EXPIRED, {"retryable_count": 1})
    assert row is not None
    assert ledger.finish(first[0], 0, Status.EXPIRED, {}) is not None
    assert resubmitter.resubmit(row).batches != first


def test_which_batches_a_sensor_may_resubmit(ended: Ended) -> None:
    """Final, helpful, not yet done, and not too often."""
    assert may_be_resubmitted(ended(LOST), POLICY)
    others: list[dict[str, object]] = [
        {"status": Status.PENDING},
        {"retryable_count": 0},
        {"attempt": 3},
        {"resubmitted_as": "child"},
        {"deletion_count": 1},
        {"acknowledged": "a test"},
    ]
    for number, row in enumerate(others):
        assert not may_be_resubmitted(ended(LOST, batch_id=f"b{number}", **row), POLICY)


@pytest.mark.parametrize("missing", ["batch", "input file"])
@pytest.mark.parametrize("days", [1, 31])
def test_texts_that_openai_does_not_show(
    resubmitter: Resubmitter, ended: Ended, ledger: Ledger, openai_server: OpenAIServer, missing: str, days: int
) -> None:
    """Of a young batch that may pass, and the row stays as it is; of an old one they are gone."""
    parent = ended(LOST, kept=False, submitted_at=datetime.now(UTC) - timedelta(days=days))
    if missing == "input file":
        planted = openai_server.plant("openai-parent", input="requests")
        openai_server.delete_file(planted["input_file_id"])
    with pytest.raises(TransientError if days == 1 else BatchError):
        resubmitter.resubmit(parent)
    assert ledger.get("parent").retryable_count == (1 if days == 1 else 0)
