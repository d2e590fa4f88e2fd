"""A text is embedded once: records with equal text share one request, and each of them is accounted for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from embedding_assets.bucket.keys import delta_key, errors_key, records_key
from embedding_assets.bucket.store import Store
from embedding_assets.databases import LINES
from embedding_assets.errors import BatchError
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.openai_batches.poll import Poller
from embedding_assets.openai_batches.poll_result import PollResult, RequestError
from embedding_assets.rows.arrow import RowFile
from embedding_assets.rows.record import text_sha256
from embedding_assets.submission.resubmit import Resubmitter
from embedding_assets.submission.sender import Sender
from embedding_assets_tests.conftest import OpenAIServer
from embedding_assets_tests.deltas import MODEL, at
from embedding_assets_tests.submission.bench import ASKED, LEASE_SECONDS, Submit
from embedding_assets_tests.submission.test_resubmit import POLICY

RECORDS = [("a", "milk"), ("b", "bread"), ("c", "milk"), ("d", "milk")]

Write = Callable[..., Path]


def polled(poller: Poller, row: BatchSummary) -> PollResult:
    """What came of a batch once it has ended."""
    result = poller.poll(row)
    while result.action == "wait":
        result = poller.poll(row)
    return result


def stored(store: Store, batch_id: str) -> list[dict[str, object]]:
    """The lines of `records/`."""
    return [json.loads(line) for line in store.get(records_key(batch_id)).splitlines()]


def test_equal_texts_share_a_request(
    submit: Submit, file: Write, store: Store, ledger: Ledger, poller: Poller, tmp_path: Path
) -> None:
    """Two requests for four records; each gets its vector, and its document and metadata."""
    sent = submit(file(*RECORDS))
    assert (sent.requests, sent.sent, sent.reused, sent.tokens) == (4, 2, 0, 3)
    [batch_id] = sent.batches
    row = ledger.get(batch_id)
    assert (row.request_count, row.sent_count, row.token_count) == (4, 2, 3)
    assert [line.get("request_id") for line in stored(store, batch_id)] == [None, None, "a", "a"]
    result = polled(poller, row)
    assert (result.results_count, result.embedding_count, result.failed_count, result.unfinished_count) == (
        4,
        4,
        0,
        0,
    )
    assert result.delta_key == delta_key(LINES, str(result.delta_id))
    path = tmp_path / "delta.arrow"
    store.download_file(f"{result.delta_key}records.arrow", path)
    rows = {row["id"]: row for batch in RowFile(path).batches() for row in batch.to_pylist()}
    assert rows.keys() == {"a", "b", "c", "d"}
    assert rows["a"]["vector"] == rows["c"]["vector"] == rows["d"]["vector"] != rows["b"]["vector"]
    assert {row["document"] for row in rows.values()} == {"milk", "bread"}
    assert rows["c"]["text_sha256"] == text_sha256("milk", MODEL, 8)


def test_singly(submit: Submit, file: Write, store: Store, ledger: Ledger) -> None:
    """`--all` sends every record by itself."""
    sent = submit(file(*RECORDS), force=True)
    assert (sent.requests, sent.sent, sent.tokens) == (4, 4, 7)
    assert ledger.get(sent.batches[0]).sent_count == 4
    assert not any("request_id" in line for line in stored(store, sent.batches[0]))


def test_what_is_skipped_shares_nothing(submit: Submit, file: Write, store: Store) -> None:
    """The first record that is really sent has the request."""
    submit(file(RECORDS[0]))
    [batch_id] = submit(file(*RECORDS)).batches
    assert [(line["id"], line.get("request_id")) for line in stored(store, batch_id)] == [
        ("b", None),
        ("c", None),
        ("d", "c"),
    ]


def test_a_dry_run_tells_the_same(submit: Submit, file: Write, openai_server: OpenAIServer) -> None:
    """What would be sent, and its price."""
    priced = submit(file(*RECORDS), dry_run=True)
    assert (priced.requests, priced.sent, priced.tokens) == (4, 2, 3)
    assert openai_server.requests("POST /v1/files") == 0


def test_a_shared_request_that_failed_is_sent_once_again(
    submit: Submit, file: Write, store: Store, ledger: Ledger, openai: OpenAIBatches
) -> None:
    """Each record that hangs on it has failed; their resubmission is one request."""
    [batch_id] = submit(file(*RECORDS)).batches
    errors = [RequestError(id=one, reason="unfinished", code="batch_expired", message="") for one in "acd"]
    store.put(errors_key(batch_id), "\n".join(one.model_dump_json() for one in errors).encode())
    assert ledger.finish(batch_id, 0, Status.EXPIRED, {"retryable_count": 3}) is not None
    sender = Sender(store, ledger, openai, LINES, LEASE_SECONDS)
    sent = Resubmitter(sender, ASKED, POLICY).resubmit(ledger.get(batch_id))
    assert (sent.requests, sent.sent, sent.tokens) == (3, 1, 2)
    [child] = sent.batches
    assert (ledger.get(child).request_count, ledger.get(child).sent_count) == (3, 1)
    assert [line.get("request_id") for line in stored(store, child)] == [None, "a", "a"]


def test_an_adopted_batch_has_the_same_counts(
    submit: Submit, file: Write, ledger: Ledger, openai_server: OpenAIServer
) -> None:
    """Whoever died before the row was written: the counts come from the records."""
    [batch_id] = submit(file(*RECORDS)).batches
    row = ledger.get(batch_id)
    ledger.client.delete_item(
        TableName=ledger.table, Key={"PK": {"S": f"BATCH#{batch_id}"}, "SK": {"S": "STATUS"}}
    )
    again = submit(file(*RECORDS))
    assert (again.batches, again.requests, again.sent, again.tokens) == ([batch_id], 4, 2, 3)
    counts = {"openai_batch_id", "request_count", "sent_count", "token_count"}
    assert ledger.get(batch_id).model_dump(include=counts) == row.model_dump(include=counts)
    assert openai_server.requests("POST /v1/batches") == 1


def test_without_the_records_nobody_knows_who_shares(
    submit: Submit, file: Write, store: Store, ledger: Ledger, poller: Poller
) -> None:
    """OpenAI's input file names two of four records: nothing is published until `records/` is back."""
    [batch_id] = submit(file(*RECORDS)).batches
    kept = store.get(records_key(batch_id))
    store.delete([records_key(batch_id)])
    result = polled(poller, ledger.get(batch_id))
    assert (result.action, result.records_misfit, result.unfinished_count) == ("handle_failure", True, 4)
    assert "which of the 4 records share the 2 requests" in (result.message or "")
    store.put(records_key(batch_id), kept)
    assert polled(poller, ledger.get(batch_id)).embedding_count == 4


def test_answers_of_a_local_batch_that_are_gone(store: Store, ledger: Ledger, poller: Poller) -> None:
    """It counts against the batch, which stays live; nothing is invented."""
    store.put(records_key("here"), b'{"id": "a", "text": "milk"}\n')
    values = {
        "openai_batch_id": "local",
        "batch_type": LINES.batch_type,
        "status": "PENDING",
        "submitted_at": at(0),
    }
    row = BatchSummary.model_validate({"batch_id": "here", **values})
    ledger.create(row)
    with pytest.raises(BatchError, match=r"records/here\.answers\.jsonl, which has its vectors, is not there"):
        poller.poll(row)
