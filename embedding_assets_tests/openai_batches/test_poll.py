"""Polling one batch, against the local OpenAI server: what is told and written, and that it is the same again."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import openai as openai_sdk
import pytest

from embedding_assets.bucket.keys import (
    errors_key,
    records_key,
    result_key,
)
from embedding_assets.bucket.store import Store
from embedding_assets.chroma.row_source import open_source
from embedding_assets.databases import LINES, WORDS
from embedding_assets.errors import BatchError, TransientError
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.openai_batches.poll import Poller
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.rows.arrow import Provenance
from embedding_assets.rows.snapshot_directory import Format, download_snapshot
from embedding_assets_tests.answers import (
    encoded,
    failed_line,
    input_lines,
    line,
    output_line,
    unfinished_line,
)
from embedding_assets_tests.conftest import OpenAIServer
from embedding_assets_tests.deltas import MODEL, NOON, record, vector
from embedding_assets_tests.recording_store import RecordingStore
from embedding_assets_tests.reference import Expected, reference_hash

IDS = ["r0", "r1", "r2"]
OUTPUT = "".join(output_line(name, vector(number)) for number, name in enumerate(IDS))
RECORDS = [
    record("r0", 0, "document 0", {"n": 0, "f": 0.1 + 0.2}),
    record("r1", 1, None, None),
    record("r2", 2, "", {"s": "ä"}),
]


def row(batch_id: str = "b1", **values: Any) -> BatchSummary:
    defaults: dict[str, Any] = {
        "openai_batch_id": f"openai-{batch_id}",
        "batch_type": "LINE_EMBEDDING",
        "status": Status.PENDING,
        "submitted_at": NOON,
    }
    return BatchSummary(batch_id=batch_id, **{**defaults, **values})


def keys(store: Store, prefix: str = "") -> set[str]:
    return {entry.key for entry in store.list(prefix)}


def put_records(store: Store, wanted: Sequence[Expected], batch_id: str = "b1") -> None:
    lines = [
        line({"id": one.id, "text": "t", "document": one.document, "metadata": one.metadata}) for one in wanted
    ]
    store.put(records_key(batch_id), "".join(lines).encode())


def delta(store: Store, result: PollResult, folder: Path) -> dict[str, bytes]:
    """By id, the hash of each row of the delta that the result names."""
    assert result.delta_key is not None
    manifest = download_snapshot(store, result.delta_key, folder)
    assert manifest is not None
    source = open_source(folder, "lines", Provenance("b", NOON, 0))
    rows = [one for batch in source.batches() for one in batch.to_pylist()]
    assert len(rows) == manifest.count == result.embedding_count
    return {one["id"]: one["hash"] for one in rows}


def errors(store: Store, batch_id: str = "b1") -> list[tuple[str, str, str, int | None]]:
    """What errors.jsonl lists; every line has exactly the contract's fields, and whether a retry can help."""
    found = [json.loads(text) for text in store.get(errors_key(batch_id)).decode().splitlines()]
    fields = {"id", "reason", "code", "message", "status_code", "retryable"}
    assert all(one.keys() == fields for one in found)
    return [(one["id"], one["reason"], one["code"], one["status_code"]) for one in found]


def told(result: PollResult) -> tuple[str, int, int, int, int]:
    return (
        result.action,
        result.results_count,
        result.embedding_count,
        result.failed_count,
        result.unfinished_count,
    )


def test_a_completed_batch(store: Store, poller: Poller, openai_server: OpenAIServer, tmp_path: Path) -> None:
    """The delta, the result, and nothing else: exact keys, exact rows, every field of the result."""
    put_records(store, RECORDS)
    openai_server.plant("openai-b1", input=input_lines(IDS), output=OUTPUT)
    result = poller.poll(row(generation=3, dimensions=8))
    prefix = f"lines/delta/lines/receipt_lines/{result.delta_id}/"
    assert keys(store) == {
        "records/b1.jsonl",
        "poll_results/b1/result.json",
        f"{prefix}manifest.json",
        f"{prefix}records.arrow",
    }
    assert delta(store, result, tmp_path) == {one.id: reference_hash(one) for one in RECORDS}
    assert told(result) == ("process_results", 3, 3, 0, 0)
    assert (result.batch_id, result.openai_batch_id, result.batch_status) == ("b1", "openai-b1", "completed")
    assert (result.delta_key, result.storage) == (prefix, "s3_delta")
    assert (result.collection, result.database, result.model, result.dimensions) == ("lines", "lines", MODEL, 8)
    assert (result.generation, result.precedence_at, result.final_status) == (3, NOON, Status.COMPLETED)
    assert result.processing_time_seconds >= 0
    assert PollResult.model_validate_json(store.get(result_key("b1"))) == result
    contract = "batch_id openai_batch_id batch_status action results_count embedding_count failed_count"
    contract += " unfinished_count delta_id delta_key storage collection database model dimensions"
    contract += " processing_time_seconds"
    assert set(contract.split()) <= json.loads(store.get(result_key("b1"))).keys()


LIVE = ["validating", "in_progress", "finalizing", "cancelling"]
FINAL = {
    "completed": ("process_results", Status.COMPLETED, Status.FAILED),
    "failed": ("process_partial", Status.FAILED, Status.FAILED),
    "expired": ("process_partial", Status.EXPIRED, Status.EXPIRED),
    "cancelled": ("process_partial", Status.CANCELLED, Status.CANCELLED),
}


@pytest.mark.parametrize("status", LIVE)
def test_a_batch_that_goes_on_waits(
    store: Store, poller: Poller, openai_server: OpenAIServer, status: str
) -> None:
    """Nothing but the result is written, no file is downloaded, no final status."""
    openai_server.plant("openai-b1", status=status, input=input_lines(IDS))
    result = poller.poll(row())
    assert told(result) == ("wait", 0, 0, 0, 0)
    assert (result.batch_status, result.final_status, result.delta_id, result.delta_key) == (
        status,
        None,
        None,
        None,
    )
    assert not result.has_delta
    assert keys(store) == {"poll_results/b1/result.json"}
    assert openai_server.requests("GET /v1/files/{id}/content") == 0


@pytest.mark.parametrize("status", FINAL)
def test_a_final_batch_with_some_embeddings(
    store: Store, poller: Poller, openai_server: OpenAIServer, tmp_path: Path, status: str
) -> None:
    """Of five requests two embedded, one failed, two unfinished: published, with every other one on record."""
    action, final, _ = FINAL[status]
    asked = ["good", "bad", "late", "silent", "good too"]
    output = output_line("good too", vector(2)) + output_line("good", vector(1))
    failed = failed_line("bad", "rate_limit_exceeded", 429) + unfinished_line("late")
    openai_server.plant("openai-b1", status=status, input=input_lines(asked), output=output, errors=failed)
    result = poller.poll(row())
    assert told(result) == (action, 3, 2, 1, 2)
    assert (result.batch_status, result.final_status, result.has_delta) == (status, final, True)
    assert delta(store, result, tmp_path).keys() == {"good", "good too"}
    assert keys(store) == {
        "poll_results/b1/result.json",
        "poll_results/b1/errors.jsonl",
        f"{result.delta_key}manifest.json",
        f"{result.delta_key}records.arrow",
    }
    silent = {"completed": "no_answer", "failed": "batch_failed", "expired": "batch_expired"}
    assert sorted(errors(store)) == [
        ("bad", "failed", "rate_limit_exceeded", 429),
        ("late", "unfinished", "batch_expired", None),
        ("silent", "unfinished", silent.get(status, "batch_cancelled"), None),
    ]


@pytest.mark.parametrize("status", FINAL)
@pytest.mark.parametrize("file_ids", [{}, {"output_file_id": "", "error_file_id": ""}], ids=["null", "empty text"])
def test_a_final_batch_without_an_embedding(
    store: Store, poller: Poller, openai_server: OpenAIServer, status: str, file_ids: dict[str, str]
) -> None:
    """No delta; every request is unfinished; OpenAI's own reason is told. An empty file id means none."""
    problem = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}
    openai_server.plant(
        "openai-b1", status=status, input=input_lines(IDS), batch_errors=[problem], fields=file_ids
    )
    result = poller.poll(row())
    assert told(result) == ("handle_failure", 0, 0, 0, 3)
    assert (result.delta_id, result.delta_key, result.has_delta) == (None, None, False)
    assert result.final_status is FINAL[status][2]
    assert result.message == "token_limit_exceeded: Enqueued token limit reached"
    assert keys(store) == {"poll_results/b1/result.json", "poll_results/b1/errors.jsonl"}
    assert [(one[0], one[1]) for one in errors(store)] == [(name, "unfinished") for name in IDS]


def test_a_completed_batch_in_which_every_request_failed(
    store: Store, poller: Poller, openai_server: OpenAIServer
) -> None:
    """OpenAI says completed; without an embedding it is a failure, and the first reason is told."""
    errors_text = "".join(failed_line(name) for name in IDS)
    openai_server.plant("openai-b1", input=input_lines(IDS), errors=errors_text)
    result = poller.poll(row())
    assert told(result) == ("handle_failure", 3, 0, 3, 0)
    assert result.final_status is Status.FAILED
    assert "server_error" in (result.message or "")
    assert len(errors(store)) == 3


def test_an_output_without_a_usable_line(store: Store, poller: Poller, openai_server: OpenAIServer) -> None:
    """Lines there are, vectors there are none: FAILED, and no delta."""
    output = output_line("r0", []) + output_line("r1", vector(1))[:60] + "\nnot json\n"
    openai_server.plant("openai-b1", input=input_lines(IDS), output=output)
    result = poller.poll(row())
    assert told(result) == ("handle_failure", 2, 0, 2, 1)
    assert (result.final_status, result.unknown_count) == (Status.FAILED, 1)
    assert keys(store, "lines/") == set()


def test_a_batch_that_openai_does_not_know(store: Store, poller: Poller, openai_server: OpenAIServer) -> None:
    """404 on retrieve ends it FAILED; with its records every request is on record as unfinished."""
    put_records(store, RECORDS)
    result = poller.poll(row())
    assert told(result) == ("handle_failure", 0, 0, 0, 3)
    assert (result.batch_status, result.final_status) == ("not_found", Status.FAILED)
    assert "does not know" in (result.message or "")
    assert {code for _, _, code, _ in errors(store)} == {"batch_not_found"}


def test_an_unknown_batch_without_records(store: Store, poller: Poller, openai_server: OpenAIServer) -> None:
    """Nobody can say what it asked for: FAILED all the same."""
    result = poller.poll(row())
    assert told(result) == ("handle_failure", 0, 0, 0, 0)
    assert result.final_status is Status.FAILED
    assert keys(store) == {"poll_results/b1/result.json"}


def test_an_output_that_is_gone(store: Store, poller: Poller, openai_server: OpenAIServer) -> None:
    """OpenAI deletes outputs after 30 days: FAILED, with that reason, not tried for ever."""
    planted = openai_server.plant("openai-b1", input=input_lines(IDS), output=OUTPUT)
    openai_server.delete_file(planted["output_file_id"])
    result = poller.poll(row())
    assert told(result) == ("handle_failure", 0, 0, 0, 3)
    assert result.final_status is Status.FAILED
    assert "deleted" in (result.message or "")


@pytest.mark.parametrize("how", ["output", "batch"])
def test_what_was_delivered_once_is_not_thrown_away(
    store: Store, poller: Poller, openai_server: OpenAIServer, tmp_path: Path, how: str
) -> None:
    """Reprocessed after OpenAI has deleted it: the delta of the earlier poll stands and is used."""
    planted = openai_server.plant("openai-b1", input=input_lines(IDS), output=OUTPUT)
    first = poller.poll(row())
    if how == "output":
        openai_server.delete_file(planted["output_file_id"])
    else:
        openai_server.forget_batch("openai-b1")
    again = poller.poll(row(generation=1))
    assert (again.delta_key, told(again), again.generation) == (first.delta_key, told(first), 1)
    assert again.final_status is Status.COMPLETED
    assert delta(store, again, tmp_path).keys() == set(IDS)


def test_the_delta_of_another_openai_batch_is_not_used(
    store: Store, poller: Poller, openai_server: OpenAIServer
) -> None:
    """The row names another OpenAI batch now, whose output is gone: what the former delivered is not its own."""
    openai_server.plant("openai-b1", input=input_lines(IDS), output=OUTPUT)
    assert poller.poll(row()).has_delta
    planted = openai_server.plant("openai-b2", input=input_lines(IDS), output=OUTPUT)
    openai_server.delete_file(planted["output_file_id"])
    result = poller.poll(row(openai_batch_id="openai-b2"))
    assert told(result) == ("handle_failure", 0, 0, 0, 3)
    assert result.final_status is Status.FAILED


def told_by_another_program(store: Store, key: str) -> None:
    """A poll result and a Chroma delta as another program left them: no manifest, fields of ours absent."""
    store.put(f"{key}chroma.sqlite3", b"sqlite")
    values = {
        "batch_id": "b1",
        "openai_batch_id": "openai-b1",
        "batch_status": "completed",
        "action": "process_results",
        "results_count": 3,
        "embedding_count": 3,
        "delta_id": "foreign",
        "delta_key": key,
        "storage": "s3_delta",
        "collection": "lines",
        "database": "lines",
    }
    store.put(result_key("b1"), json.dumps(values).encode())


@pytest.mark.parametrize("there", [True, False])
def test_a_delta_of_another_program_stands_in(
    store: Store, poller: Poller, openai_server: OpenAIServer, there: bool
) -> None:
    """The output is gone, another program's Chroma delta is there: it is used. Without it the batch has failed."""
    key = "lines/delta/lines/receipt_lines/foreign/"
    told_by_another_program(store, key)
    if not there:
        store.delete([f"{key}chroma.sqlite3"])
    planted = openai_server.plant("openai-b1", input=input_lines(IDS), output=OUTPUT)
    openai_server.delete_file(planted["output_file_id"])
    result = poller.poll(row(generation=2))
    assert result.has_delta is there
    assert result.final_status is (Status.COMPLETED if there else Status.FAILED)
    assert (result.generation, result.precedence_at) == (2, NOON)
    assert result.delta_key == (key if there else None)


def test_an_earlier_result_that_is_none_is_passed_over(
    store: Store, poller: Poller, openai_server: OpenAIServer
) -> None:
    """Bytes that are no poll result: as if there were none."""
    store.put(result_key("b1"), b"not json")
    assert poller.poll(row()).final_status is Status.FAILED


def test_an_error_file_that_is_gone_takes_nothing_down(
    store: Store, poller: Poller, openai_server: OpenAIServer
) -> None:
    """The embeddings are there; requests whose error nobody can read are unfinished."""
    planted = openai_server.plant(
        "openai-b1", input=input_lines([*IDS, "bad"]), output=OUTPUT, errors=failed_line("bad")
    )
    openai_server.delete_file(planted["error_file_id"])
    assert told(poller.poll(row())) == ("process_results", 3, 3, 0, 1)


def test_without_records_the_input_file_tells(
    store: Store, poller: Poller, openai_server: OpenAIServer, tmp_path: Path
) -> None:
    """A batch that others submitted: ids and documents from OpenAI's input file, no metadata."""
    openai_server.plant("openai-b1", input=input_lines(IDS), output=OUTPUT)
    result = poller.poll(row())
    wanted = [record(name, number, f"text of {name}", None) for number, name in enumerate(IDS)]
    assert delta(store, result, tmp_path) == {one.id: reference_hash(one) for one in wanted}
    assert result.model == MODEL


def test_records_without_metadata(
    store: Store, poller: Poller, openai_server: OpenAIServer, tmp_path: Path
) -> None:
    """`id` and `document` are enough, and records count before the input file."""
    store.put(
        records_key("b1"), (line({"id": "r0", "document": "d"}) + line({"id": "r1", "document": "e"})).encode()
    )
    openai_server.plant("openai-b1", input=input_lines(IDS), output=OUTPUT)
    result = poller.poll(row())
    wanted = [record("r0", 0, "d", None), record("r1", 1, "e", None)]
    assert delta(store, result, tmp_path) == {one.id: reference_hash(one) for one in wanted}
    assert result.unknown_count == 1


def test_nobody_knows_what_the_answers_belong_to(
    store: Store, poller: Poller, openai_server: OpenAIServer
) -> None:
    """Neither records nor an input file, but answers: an error that names the batch, and no delta."""
    planted = openai_server.plant("openai-b1", input=input_lines(IDS), output=OUTPUT)
    openai_server.delete_file(planted["input_file_id"])
    with pytest.raises(BatchError, match=r"b1.*records/b1\.jsonl"):
        poller.poll(row())
    assert keys(store) == set()


def test_a_second_poll_finds_the_same_delta(
    store: Store, openai_server: OpenAIServer, openai: OpenAIBatches
) -> None:
    """The same answers and records: the same id, and not one object of the delta is written again."""
    put_records(store, RECORDS)
    openai_server.plant("openai-b1", input=input_lines(IDS), output=OUTPUT)
    first = Poller(store, openai, LINES, "arrow").poll(row())
    recording = RecordingStore(store)
    second = Poller(recording, openai, LINES, "arrow").poll(row(status=Status.IN_PROGRESS, generation=2))
    assert second.delta_id == first.delta_id
    assert recording.written == ["poll_results/b1/result.json"]


def test_a_delta_that_is_not_whole_is_written_again(
    store: Store, poller: Poller, openai_server: OpenAIServer, tmp_path: Path
) -> None:
    """A poll that was killed between the files and the manifest, or a file that got lost."""
    openai_server.plant("openai-b1", input=input_lines(IDS), output=OUTPUT)
    first = poller.poll(row())
    for name in ("manifest.json", "records.arrow"):
        store.delete([f"{first.delta_key}{name}"])
        assert len(delta(store, poller.poll(row()), tmp_path / name)) == 3


def test_what_differs_makes_another_delta(
    store: Store, poller: Poller, openai: OpenAIBatches, openai_server: OpenAIServer
) -> None:
    """Corrected records, another answer, another error, another batch, another format: six deltas."""
    put_records(store, RECORDS)
    openai_server.plant("openai-b1", input=input_lines(IDS), output=OUTPUT)
    found = [poller.poll(row())]
    put_records(store, [record("r0", 0, "corrected", None), *RECORDS[1:]])
    found.append(poller.poll(row()))
    openai_server.plant("openai-b1", input=input_lines(IDS), output=OUTPUT + output_line("r0", vector(9)))
    found.append(poller.poll(row()))
    openai_server.plant("openai-b1", input=input_lines(IDS), output=OUTPUT, errors=failed_line("r0"))
    found.append(poller.poll(row()))
    openai_server.plant("openai-b2", input=input_lines(IDS), output=OUTPUT)
    found.append(poller.poll(row("b2")))
    put_records(store, RECORDS)
    openai_server.plant("openai-b1", input=input_lines(IDS), output=OUTPUT)
    found.append(Poller(store, openai, LINES, "chroma").poll(row()))
    again = poller.poll(row())
    assert len({result.delta_id for result in found}) == 6
    assert again.delta_id == found[0].delta_id
    deltas = {key.split("/")[4] for key in keys(store, "lines/")}
    assert deltas == {result.delta_id for result in found}


def test_base64_and_float_give_the_same_vectors(
    store: Store, poller: Poller, openai_server: OpenAIServer, tmp_path: Path
) -> None:
    """Bit for bit: the hashes of id, vector, document and metadata are equal."""
    openai_server.plant("openai-b1", input=input_lines(IDS), output=OUTPUT)
    packed = "".join(output_line(name, encoded(vector(number))) for number, name in enumerate(IDS))
    openai_server.plant("openai-b2", input=input_lines(IDS), output=packed)
    one = delta(store, poller.poll(row()), tmp_path / "1")
    two = delta(store, poller.poll(row("b2")), tmp_path / "2")
    assert one == two
    assert len(one) == 3


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_a_batch_that_the_server_itself_embedded(
    store: Store,
    poller: Poller,
    openai_server: OpenAIServer,
    openai_clients: tuple[openai_sdk.OpenAI, httpx.Client],
    tmp_path: Path,
    encoding: str,
) -> None:
    """Not planted: submitted, embedded, shuffled, with failures of its own. Vectors are those of the model."""
    sdk, _ = openai_clients
    names = [f"r{number}" for number in range(40)]
    faults = [
        {"kind": "error", "custom_ids": ["r1"]},
        {"kind": "silent", "custom_ids": ["r2"]},
        {"kind": "conflicting_duplicate", "custom_ids": ["r3"]},
        {"kind": "malformed", "custom_ids": ["r4"]},
    ]
    openai_server.order("plans", {"plan": {"requests": faults, "unknown_ids": ["stranger"]}, "next": 1})
    lines = input_lines(names, dimensions=16, encoding_format=encoding)
    uploaded = sdk.files.create(file=("in.jsonl", lines.encode()), purpose="batch")
    created = sdk.batches.create(input_file_id=uploaded.id, endpoint="/v1/embeddings", completion_window="24h")
    result = PollResult(
        batch_id="b", openai_batch_id="o", batch_status="", action="wait", collection="", database=""
    )
    while result.action == "wait":
        result = poller.poll(row(openai_batch_id=created.id))
    assert told(result) == ("process_results", 39, 37, 2, 1)
    assert (result.unknown_count, result.repeated_count, result.dimensions) == (1, 1, 16)
    rows = delta(store, result, tmp_path)
    vectors = sdk.embeddings.create(model=MODEL, input=[f"text of {name}" for name in names], dimensions=16)
    for name, entry in zip(names, vectors.data, strict=True):
        if name in rows and name != "r3":
            one = Expected(name, tuple(entry.embedding), f"text of {name}", None)
            assert rows[name] == reference_hash(one)
    assert rows.keys() == set(names) - {"r1", "r2", "r4"}


def test_vectors_of_another_length_than_the_rows_fail(
    store: Store, poller: Poller, openai_server: OpenAIServer, tmp_path: Path
) -> None:
    """The row's dimensions decide, also against most vectors; each wrong one is told."""
    output = output_line("r0", vector(0, 16)) + output_line("r1", vector(1)) + output_line("r2", vector(2, 16))
    openai_server.plant("openai-b1", input=input_lines(IDS), output=output)
    result = poller.poll(row(dimensions=8))
    assert told(result) == ("process_results", 3, 1, 2, 0)
    assert delta(store, result, tmp_path / "8").keys() == {"r1"}
    assert [(name, code) for name, _, code, _ in errors(store)] == [
        ("r0", "wrong_dimensions"),
        ("r2", "wrong_dimensions"),
    ]


def test_corrected_dimensions_make_another_delta(
    store: Store, poller: Poller, openai_server: OpenAIServer, tmp_path: Path
) -> None:
    """The row said 8, was corrected to 16 and reset: what is named then has the rows that are told."""
    output = output_line("r0", vector(0, 16)) + output_line("r1", vector(1)) + output_line("r2", vector(2, 16))
    openai_server.plant("openai-b1", input=input_lines(IDS), output=output)
    poller.poll(row(dimensions=8))
    corrected = poller.poll(row(dimensions=16))
    assert told(corrected) == ("process_results", 3, 2, 1, 0)
    assert delta(store, corrected, tmp_path).keys() == {"r0", "r2"}


def test_errors_are_gone_when_there_are_none(store: Store, poller: Poller, openai_server: OpenAIServer) -> None:
    """errors.jsonl of an earlier poll does not outlive its errors."""
    openai_server.plant("openai-b1", input=input_lines(IDS), output=OUTPUT, errors=failed_line("r9"))
    store.put(records_key("b1"), "".join(line({"id": name, "document": "d"}) for name in [*IDS, "r9"]).encode())
    poller.poll(row())
    assert len(errors(store)) == 1
    store.put(records_key("b1"), "".join(line({"id": name, "document": "d"}) for name in IDS).encode())
    poller.poll(row())
    assert store.find(errors_key("b1")) is None


def test_the_result_is_written_last(store: Store, openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """Delta, its manifest, errors, result: who sees a result finds all that it names."""
    openai_server.plant("openai-b1", input=input_lines([*IDS, "bad"]), output=OUTPUT, errors=failed_line("bad"))
    recording = RecordingStore(store)
    result = Poller(recording, openai, LINES, "arrow").poll(row())
    assert recording.written == [
        f"{result.delta_key}records.arrow",
        f"{result.delta_key}manifest.json",
        "poll_results/b1/result.json",
        "poll_results/b1/errors.jsonl",
        "poll_results/b1/result.json",
    ]


@pytest.mark.parametrize("form", ["arrow", "chroma"])
def test_words_are_another_value_of_the_same_path(
    store: Store, openai: OpenAIBatches, openai_server: OpenAIServer, tmp_path: Path, form: Format
) -> None:
    """The delta of words lies under their folder, in either format."""
    openai_server.plant("openai-b1", input=input_lines(IDS), output=OUTPUT)
    result = Poller(store, openai, WORDS, form).poll(row(batch_type="WORD_EMBEDDING"))
    assert result.delta_key == f"words/delta/words/receipt_words/{result.delta_id}/"
    assert (result.database, result.collection) == ("words", "words")
    assert len(delta(store, result, tmp_path / "delta")) == 3


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 429, "times": None}, TransientError),
        ({"status": 503, "times": None}, TransientError),
        ({"reset": True, "times": None}, TransientError),
        ({"truncate_after": 100, "times": None}, TransientError),
        ({"status": 400, "times": None}, BatchError),
    ],
)
def test_a_download_that_fails_writes_nothing(
    store: Store, poller: Poller, openai_server: OpenAIServer, fault: dict[str, Any], error: type[Exception]
) -> None:
    """A passing error is told as passing; half a file never becomes a delta."""
    openai_server.plant("openai-b1", input=input_lines(IDS), output=OUTPUT)
    openai_server.fault("GET /v1/files/{id}/content", **fault)
    with pytest.raises(error):
        poller.poll(row())
    assert keys(store) == set()


def test_a_download_that_breaks_off_is_begun_again(
    store: Store, poller: Poller, openai_server: OpenAIServer, tmp_path: Path
) -> None:
    """Once cut in its middle: the whole file is read again, and the delta is complete."""
    openai_server.plant("openai-b1", input=input_lines(IDS), output=OUTPUT)
    openai_server.fault("GET /v1/files/{id}/content", truncate_after=300)
    assert len(delta(store, poller.poll(row()), tmp_path)) == 3


@pytest.mark.parametrize("input_file", [True, False])
def test_errors_of_a_failed_batch_are_in_proportion_to_its_requests(
    store: Store, poller: Poller, openai_server: OpenAIServer, input_file: bool
) -> None:
    """3,000 requests and 3,000 errors of the batch, each of 1 KB: the batch's own text is there once."""
    count = 3000
    names = [f"r{number}" for number in range(count)]
    problems = [{"code": "invalid", "message": f"{n} " + "m" * 1000, "line": n} for n in range(1, count + 1)]
    openai_server.plant("openai-b1", status="failed", input=input_lines(names), batch_errors=problems)
    if not input_file:
        put_records(store, [record(name, 0) for name in names])
    if input_file:
        tracemalloc.start()
    result = poller.poll(row())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert told(result) == ("handle_failure", 0, 0, 0, count)
    assert len(result.message or "") <= 1000
    assert (result.message or "").endswith("; … and 2,999 more")
    found = store.get(errors_key("b1"))
    assert len(found.splitlines()) == count
    assert len(found) < count * 500
    assert peak < 100 * 2**20
    first = json.loads(found.splitlines()[0])
    assert (first["id"], first["code"], first["reason"]) == ("r0", "invalid", "unfinished")
    assert first["message"].startswith("1 mmm") is input_file


def test_an_old_delta_with_a_vector_that_nobody_vouches_for_is_not_used(
    store: Store, poller: Poller, openai_server: OpenAIServer
) -> None:
    """What was read otherwise before has another id now: the version of the format is part of it."""
    openai_server.plant("openai-b1", input=input_lines(IDS), output=OUTPUT)
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in (OUTPUT, "", input_lines(IDS))]
    before = hashlib.sha256("\0".join(["1", "b1", "8", *hashes, "arrow"]).encode()).hexdigest()[:32]
    assert poller.poll(row()).delta_id != before


def test_a_message_of_openais_that_is_no_unicode_stops_nothing(
    store: Store, poller: Poller, openai_server: OpenAIServer
) -> None:
    """Half a surrogate pair in an error's message: that request failed, the others are embedded."""
    broken = failed_line("bad").replace("The server had", "\\ud800")
    openai_server.plant("openai-b1", input=input_lines([*IDS, "bad"]), output=OUTPUT, errors=broken)
    assert told(poller.poll(row())) == ("process_results", 4, 3, 1, 0)
    assert [name for name, *_ in errors(store)] == ["bad"]
