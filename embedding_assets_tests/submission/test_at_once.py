"""`submit --now`: the embeddings endpoint answers, and what it answered is a batch like any other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from embedding_assets.bucket.keys import answers_key, records_key
from embedding_assets.bucket.store import Store
from embedding_assets.databases import LINES
from embedding_assets.errors import InputError, ServiceError
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.openai_batches import at_once
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.openai_batches.poll import Poller
from embedding_assets.operations.costs import batch_cost
from embedding_assets.submission.parts import EmbeddingModel, Limits
from embedding_assets.submission.sender import Sender
from embedding_assets.submission.submit import Submission
from embedding_assets.submission.tokens import price_usd
from embedding_assets_tests.conftest import OpenAIServer
from embedding_assets_tests.deltas import MODEL
from embedding_assets_tests.submission.bench import ASKED, LEASE_SECONDS, Submit

Write = Callable[..., Path]

RECORDS = [("a", "milk"), ("b", "bread"), ("c", "milk")]
EMBEDDINGS = "POST /v1/embeddings"


def test_one_call_for_many_texts(
    submit: Submit, file: Write, ledger: Ledger, poller: Poller, openai_server: OpenAIServer
) -> None:
    """No file and no batch at OpenAI; twice the price; the poll finds a vector for each record."""
    sent = submit(file(*RECORDS), now=True)
    assert (sent.requests, sent.sent, sent.tokens) == (3, 2, 3)
    assert sent.price_usd == 2 * (price_usd(3, MODEL) or 0)
    assert openai_server.requests(EMBEDDINGS) == 1
    assert openai_server.requests("POST /v1/files") == openai_server.requests("POST /v1/batches") == 0
    row = ledger.get(sent.batches[0])
    assert (row.openai_batch_id, row.request_count, row.sent_count, row.token_count) == ("local", 3, 2, 3)
    assert (row.answered_at_once, batch_cost(row)) == (True, sent.price_usd)
    result = poller.poll(row)
    assert (result.action, result.embedding_count, result.dimensions) == ("process_results", 3, ASKED.dimensions)


def test_the_vectors_are_those_of_a_batch(
    submit: Submit, file: Write, store: Store, openai: OpenAIBatches
) -> None:
    """Bit for bit, as they were delivered."""
    [batch_id] = submit(file(*RECORDS), now=True).batches
    answers = [json.loads(line) for line in store.get(answers_key(batch_id)).splitlines()]
    delivered = {one["custom_id"]: one["response"]["body"]["data"][0]["embedding"] for one in answers}
    wanted = at_once.embed_at_once(openai, ["milk", "bread"], MODEL, ASKED.dimensions, lambda line: None)
    assert [delivered["a"], delivered["b"]] == wanted


def test_what_is_on_its_way_is_skipped(submit: Submit, file: Write, openai_server: OpenAIServer) -> None:
    """The same guards as without `--now`, in both directions."""
    submit(file(*RECORDS), now=True)
    assert submit(file(*RECORDS)).requests == submit(file(*RECORDS), now=True).requests == 0
    assert openai_server.requests(EMBEDDINGS) == 1


def test_each_call_is_a_batch(submit: Submit, file: Write, openai_server: OpenAIServer) -> None:
    """What one call may have is the limit of a batch."""
    sent = submit(file(*RECORDS), now=True, limits=Limits(requests=1))
    assert len(sent.batches) == openai_server.requests(EMBEDDINGS) == 2


def test_a_killed_submission_pays_once(
    submit: Submit, file: Write, ledger: Ledger, openai_server: OpenAIServer
) -> None:
    """What was answered before the row was written is adopted, also without `--now`."""
    with mock.patch.object(Sender, "_create_row", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        submit(file(*RECORDS), now=True)
    told: list[str] = []
    again = submit(file(*RECORDS), told=told)
    assert (again.requests, again.sent, again.tokens) == (3, 2, 3)
    assert [line for line in told if "adopted" in line] == [
        f"batch {again.batches[0]} was made before as local: it is adopted"
    ]
    assert ledger.get(again.batches[0]).answered_at_once
    assert (openai_server.requests(EMBEDDINGS), openai_server.requests("POST /v1/batches")) == (1, 0)


def test_a_batch_that_was_made_is_not_asked_at_once(
    submit: Submit, file: Write, ledger: Ledger, openai_server: OpenAIServer
) -> None:
    """A submission that died after OpenAI had its batch: `--now` adopts it, and pays nothing again."""
    with mock.patch.object(Sender, "_create_row", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        submit(file(*RECORDS))
    [batch_id] = submit(file(*RECORDS), now=True).batches
    assert ledger.get(batch_id).at_openai
    assert openai_server.requests(EMBEDDINGS) == 0


def test_a_rate_limit_is_waited_for(
    submit: Submit, file: Write, openai_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than the SDK waits; it is reported."""
    monkeypatch.setattr(at_once, "_BACKOFF", lambda state: 0.01)
    openai_server.fault(EMBEDDINGS, status=429, times=6, retry_after=0.02)
    told: list[str] = []
    assert submit(file(*RECORDS), now=True, told=told).sent == 2
    assert [line for line in told if "asked again" in line]


def test_a_refusal_stores_nothing(submit: Submit, file: Write, store: Store, ledger: Ledger) -> None:
    """One line; the records may be submitted again in any way."""
    with pytest.raises(ServiceError, match="embedding 2 texts with no-such-model"):
        submit(file(*RECORDS), now=True, asked=EmbeddingModel("no-such-model", None))
    assert list(ledger.live(LINES).ready_to_plan) == []
    assert [entry.key for entry in store.list("records/") if entry.key.endswith(".answers.jsonl")] == []
    assert submit(file(*RECORDS)).sent == 2


def test_a_text_without_an_answer_is_unfinished(
    submit: Submit, file: Write, store: Store, ledger: Ledger, poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each record of it; what came is published, and a retry can help the rest."""
    whole = at_once._delivered
    monkeypatch.setattr(at_once, "_delivered", lambda *asked: [None, *whole(*asked)[1:]])
    [batch_id] = submit(file(*RECORDS), now=True).batches
    result = poller.poll(ledger.get(batch_id))
    assert (result.embedding_count, result.unfinished_count, result.retryable_count) == (1, 2, 2)
    assert store.get(records_key(batch_id)).count(b"request_id") == 1


def test_nothing_is_paid_before_it_is_confirmed(submit: Submit, file: Write, openai_server: OpenAIServer) -> None:
    """The question has the price; who says no has sent nothing."""
    asked: list[Submission] = []

    def refuse(priced: Submission) -> None:
        asked.append(priced)
        raise InputError("nothing was sent")

    with pytest.raises(InputError):
        submit(file(*RECORDS), now=True, confirm=refuse)
    assert [(one.sent, one.price_usd) for one in asked] == [(2, 2 * (price_usd(3, MODEL) or 0))]
    assert openai_server.requests(EMBEDDINGS) == 0


def test_the_queue_of_batches_does_not_count(submit: Submit, file: Write) -> None:
    """`EMBEDDING_ASSETS_ENQUEUED_TOKENS` is about batches at OpenAI: what was answered at once is not in it."""
    submit(file(*RECORDS), now=True)
    sent = submit(file(("d", "eggs"), name="more.jsonl"), enqueued_tokens=2)
    assert (sent.sent, sent.deferred) == (1, 0)


def test_senders_wait_for_nobody_else(store: Store, ledger: Ledger, openai: OpenAIBatches) -> None:
    """What is not there is not adopted."""
    assert Sender(store, ledger, openai, LINES, LEASE_SECONDS).adopt("nobody", {}) is None
