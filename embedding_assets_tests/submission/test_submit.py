"""Submitting: a file is checked whole before anything is sent, and each record is sent once."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from embedding_assets.bucket.keys import records_key
from embedding_assets.bucket.store import Store
from embedding_assets.databases import LINES, WORDS, Database
from embedding_assets.errors import InputError, TransientError
from embedding_assets.ledger.batch_summary import BatchSummary, Status, format_instant
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.openai_batches.poll import Poller
from embedding_assets.rows.record import input_sha256
from embedding_assets.submission.parts import EmbeddingModel, Limits
from embedding_assets.submission.submit import Submission
from embedding_assets_tests.conftest import OpenAIServer
from embedding_assets_tests.deltas import MODEL
from embedding_assets_tests.submission.bench import Submit

CREATE = "POST /v1/batches"
UPLOAD = "POST /v1/files"


def live(ledger: Ledger, database: Database = LINES) -> Sequence[BatchSummary]:
    """The batches on their way."""
    return ledger.live(database).ready_to_plan


def end(ledger: Ledger, *batch_ids: str, status: Status = Status.FAILED) -> None:
    """Batches that ended."""
    for batch_id in batch_ids:
        assert ledger.finish(batch_id, 0, status, {}) is not None


def test_a_sent_batch_can_be_polled(
    submit: Submit, file: Callable[..., Path], store: Store, ledger: Ledger, poller: Poller
) -> None:
    """Records, row and batch fit together: polling it embeds every record."""
    first = {"id": "a", "text": "first", "document": "d", "metadata": {"n": 1, "k": "ä"}}
    sent = submit(file(first, ("東京/b", "second")))
    assert (sent.requests, sent.skipped, sent.tokens) == (2, 0, 2)
    assert sent.price_usd == pytest.approx(2e-8)
    [batch_id] = sent.batches
    row = ledger.get(batch_id)
    assert (row.status, row.model, row.dimensions) == (Status.PENDING, MODEL, 8)
    assert (row.request_count, row.token_count) == (2, 2)
    stored = [json.loads(text) for text in store.get(records_key(batch_id)).splitlines()]
    assert stored == [
        {**first, "input_sha256": input_sha256("first", "d", '{"k":"ä","n":1}', MODEL, 8)},
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


def test_the_same_file_again_costs_nothing(
    submit: Submit, file: Callable[..., Path], ledger: Ledger, openai_server: OpenAIServer
) -> None:
    """No upload, no batch; nor does a file that has some of it."""
    first = submit(file("a", "b", "c"), limits=Limits(requests=2))
    assert (len(first.batches), first.requests) == (2, 3)
    for again in (submit(file("a", "b", "c"), limits=Limits(requests=2)), submit(file("c", "a"))):
        assert (again.batches, again.requests, again.tokens) == ([], 0, 0)
    assert submit(file("c", "a")).skipped == 2
    more = submit(file("c", "d", "a"))
    assert (more.requests, more.skipped) == (1, 2)
    assert openai_server.requests(CREATE) == openai_server.requests(UPLOAD) == 3
    assert len(live(ledger)) == 3


def test_another_input_is_another_submission(submit: Submit, file: Callable[..., Path], ledger: Ledger) -> None:
    """Another text, document, metadata, model or length of the same id."""
    submit(file("a"))
    changed = [
        ("a", "other"),
        {"id": "a", "text": "text of a", "document": "other"},
        {"id": "a", "text": "text of a", "metadata": {"n": 1}},
    ]
    assert [submit(file(record)).requests for record in changed] == [1, 1, 1]
    assert submit(file("a"), asked=EmbeddingModel(MODEL, 16)).requests == 1
    assert len(live(ledger)) == 5
    precedences = [row.precedence for row in sorted(live(ledger), key=lambda row: row.submitted_at)]
    assert precedences == sorted(set(precedences))


def test_a_then_b_then_a_again(submit: Submit, file: Callable[..., Path], ledger: Ledger) -> None:
    """Three submissions: the last one is what the person wants, whatever was sent before."""
    a, b, again = (submit(file(("x", text))).batches for text in ("A", "B", "A"))
    assert len({*a, *b, *again}) == 3
    assert submit(file(("x", "A"))).batches == []
    newest = max(live(ledger), key=lambda row: row.precedence)
    assert [newest.batch_id] == again


def test_what_ended_without_success_is_submitted_again(
    submit: Submit, file: Callable[..., Path], ledger: Ledger, openai_server: OpenAIServer
) -> None:
    """Under another id each time."""
    ids = []
    for _ in range(3):
        [batch_id] = submit(file("a", "b")).batches
        ids.append(batch_id)
        end(ledger, batch_id)
    assert len(set(ids)) == 3
    assert openai_server.requests(CREATE) == 3


def test_force_sends_all_the_same(submit: Submit, file: Callable[..., Path], openai_server: OpenAIServer) -> None:
    """Also what is on its way."""
    submit(file("a", "b"))
    forced = submit(file("a", "b"), force=True)
    assert (forced.requests, forced.skipped) == (2, 0)
    assert openai_server.requests(CREATE) == 2


def test_a_clock_that_was_ahead(submit: Submit, file: Callable[..., Path], ledger: Ledger, store: Store) -> None:
    """A later submission wins also over one whose row says that it came tomorrow."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    ledger.create(
        BatchSummary(
            batch_id="ahead",
            openai_batch_id="openai-ahead",
            batch_type=LINES.batch_type,
            status=Status.PENDING,
            submitted_at=tomorrow,
        )
    )
    store.put(records_key("ahead"), b'{"id": "a", "document": "old", "input_sha256": "old"}\n')
    [batch_id] = submit(file("a")).batches
    row = ledger.get(batch_id)
    assert row.submitted_at < tomorrow < row.precedence
    assert format_instant(row.precedence) > format_instant(tomorrow)


def test_a_dry_run_sends_nothing(
    submit: Submit, file: Callable[..., Path], store: Store, ledger: Ledger, openai_server: OpenAIServer
) -> None:
    """It tells what would be sent and skipped, and the very ids."""
    submit(file("a"))
    before = [entry.key for entry in store.list("")]
    gone = file("x", name="gone")
    dry = submit(file("a", "b", "c"), deletions=gone, limits=Limits(requests=2), dry_run=True)
    assert (len(dry.batches), dry.requests, dry.skipped, dry.deletions) == (3, 2, 1, 1)
    assert [entry.key for entry in store.list("")] == before
    assert openai_server.requests(CREATE) == 1
    assert submit(file("a", "b", "c"), deletions=gone, limits=Limits(requests=2)).batches == dry.batches
    assert len(live(ledger)) == 4


def test_nothing_is_sent_where_a_later_file_is_broken(
    submit: Submit, file: Callable[..., Path], tmp_path: Path, store: Store, openai_server: OpenAIServer
) -> None:
    """Every file is read to its end first."""
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"id": "x"}\n')
    for files, deletions in (([file("a"), broken], None), ([file("a")], tmp_path / "missing")):
        with pytest.raises(InputError):
            submit(*files, deletions=deletions)
    with pytest.raises(InputError, match="the id 'a' is also submitted"):
        submit(file("a"), deletions=file("b", "a", name="gone"))
    assert list(store.list("")) == []
    assert openai_server.requests(UPLOAD) == 0


def test_the_same_content_for_another_database_is_another_batch(
    submit: Submit, file: Callable[..., Path], ledger: Ledger, openai_server: OpenAIServer
) -> None:
    """Records of lines that are submitted to words too: both databases get them."""
    for database in (LINES, WORDS):
        assert submit(file("a"), database=database).requests == 1
        assert len(live(ledger, database)) == 1
    assert openai_server.requests(CREATE) == 2


def test_deletions_are_no_business_of_openai(
    submit: Submit, file: Callable[..., Path], store: Store, ledger: Ledger, openai_server: OpenAIServer
) -> None:
    """A row and the ids; once, until the record is submitted again."""
    gone = file("a", "b", name="gone")
    sent = submit(deletions=gone)
    assert (sent.requests, sent.deletions, sent.tokens, len(sent.batches)) == (0, 2, 0, 1)
    [row] = live(ledger)
    assert (row.deletion_count, row.openai_batch_id, row.is_deletion) == (2, "deletion", True)
    assert (row.model, row.dimensions, row.request_count) == (None, None, None)
    assert store.get(records_key(row.batch_id)) == b'{"id":"a","deleted":true}\n{"id":"b","deleted":true}\n'
    assert submit(deletions=gone).batches == []
    assert submit(file("a")).requests == 1
    again = submit(deletions=gone)
    assert (again.deletions, again.skipped) == (1, 1)
    assert openai_server.requests(UPLOAD) == 1


def test_a_budget_of_tokens_defers(submit: Submit, file: Callable[..., Path], ledger: Ledger) -> None:
    """No batch has more than the budget, nor have all together; what waits is sent later by the same command."""
    records = [(f"r{number}", f"{number} two three") for number in range(5)]
    sent = [submit(file(*records), enqueued_tokens=7)]
    assert (sent[0].requests, sent[0].deferred, sent[0].skipped) == (2, 3, 0)
    again = submit(file(*records), enqueued_tokens=7)
    assert (again.requests, again.deferred, again.skipped) == (0, 3, 2)
    while sent[-1].deferred:
        end(ledger, *(row.batch_id for row in live(ledger)), status=Status.COMPLETED)
        sent.append(submit(file(*records[2 * len(sent) :]), enqueued_tokens=7))
    assert sum(one.requests for one in sent) == 5
    assert all(one.tokens <= 7 for one in sent)


def test_the_answer_of_the_creation_is_lost(
    submit: Submit, file: Callable[..., Path], openai: OpenAIBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch is found by its metadata, not made again."""
    real = OpenAIBatches.create_batch
    made = []

    def create(self: OpenAIBatches, *arguments: Any) -> Any:
        made.append(real(self, *arguments))
        raise_transient()

    monkeypatch.setattr(OpenAIBatches, "create_batch", create)
    told: list[str] = []
    sent = submit(file("a"), told=told)
    assert len(made) == len(sent.batches) == 1
    assert any("looking whether" in text for text in told)


def raise_transient() -> None:
    """What a timeout becomes."""
    raise TransientError("creating a batch at OpenAI: OpenAI cannot be reached")


def test_an_overloaded_openai_is_tried_again(
    submit: Submit, file: Callable[..., Path], openai_server: OpenAIServer, ledger: Ledger
) -> None:
    """429 and 500: nothing was made, so it is made at the next try, once."""
    openai_server.fault(CREATE, status=429)
    openai_server.fault(CREATE, status=500)
    sent = submit(file("a"))
    assert len(sent.batches) == len(live(ledger)) == 1


def test_a_crash_before_the_row_is_adopted(
    submit: Submit,
    file: Callable[..., Path],
    ledger: Ledger,
    openai_server: OpenAIServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The batch that was made and never written down gets its row; nothing is paid twice."""

    def die(*arguments: object) -> None:
        raise RuntimeError("dead")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "create", die)
        with pytest.raises(RuntimeError):
            submit(file("a", "b"))
    assert live(ledger) == ()
    told: list[str] = []
    sent = submit(file("a", "b"), told=told)
    assert (sent.requests, sent.tokens, len(sent.batches)) == (2, 6, 1)
    assert any("it is adopted" in text for text in told)
    [row] = live(ledger)
    assert (row.request_count, row.token_count) == (2, 6)
    assert openai_server.requests(CREATE) == 1
    assert submit(file("a", "b")).batches == []


def test_two_submits_of_one_file_at_once_pay_once(
    submit: Submit, file: Callable[..., Path], ledger: Ledger, openai_server: OpenAIServer
) -> None:
    """Whichever claims a batch first sends it; the other one finds it sent."""
    path = file(*(f"r{number}" for number in range(8)))
    done: list[Submission] = []
    threads = [
        threading.Thread(target=lambda: done.append(submit(path, limits=Limits(requests=2)))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 4
    assert openai_server.requests(CREATE) == len(live(ledger)) == 4
    assert sum(one.requests for one in done) == 8
    assert sum(one.skipped for one in done) == 24
