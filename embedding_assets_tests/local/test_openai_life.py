"""A batch's whole life by the real OpenAI SDK, without faults."""

from __future__ import annotations

import base64
import time

import numpy as np
import openai
import pytest

from embedding_assets_tests.local.conftest import Server, request_line, request_lines


def test_a_batch_completes_and_answers_every_request(server: Server) -> None:
    before = int(time.time())
    batch = server.run(request_lines(40))
    lines = server.lines(batch.output_file_id)

    assert batch.status == "completed"
    assert batch.request_counts is not None
    assert batch.request_counts.model_dump() == {"total": 40, "completed": 40, "failed": 0}
    assert batch.error_file_id is None
    assert batch.errors is None
    assert batch.completed_at is not None
    assert before <= batch.created_at <= batch.completed_at
    assert batch.expires_at == batch.created_at + 86_400
    ids = [line["custom_id"] for line in lines]
    assert sorted(ids) == sorted(f"r{index}" for index in range(40))
    assert ids != [f"r{index}" for index in range(40)], "answers come out of order"
    first = lines[0]
    assert set(first) == {"id", "custom_id", "response", "error"}
    assert first["error"] is None
    assert first["response"]["status_code"] == 200
    body = first["response"]["body"]
    assert set(body) == {"object", "data", "model", "usage"}
    assert body["data"][0]["index"] == 0
    assert len(body["data"][0]["embedding"]) == 8


def test_the_same_input_gets_the_same_bytes(server: Server) -> None:
    outputs = [server.run(request_lines(10)).output_file_id for _ in range(2)]
    first, second = (server.client.files.content(name or "").read() for name in outputs)
    assert first == second


def test_statuses_advance_over_the_latency(server: Server) -> None:
    server.plan({"latency_seconds": 0.6})
    batch = server.create(request_lines(10))
    seen: list[str] = [batch.status]
    counts: list[int] = []
    while seen[-1] != "completed":
        batch = server.client.batches.retrieve(batch.id)
        if batch.status != seen[-1]:
            seen.append(batch.status)
        assert batch.request_counts is not None
        counts.append(batch.request_counts.completed)
        assert (batch.output_file_id is not None) == (batch.status == "completed")
        time.sleep(0.01)
    assert seen == ["validating", "in_progress", "finalizing", "completed"]
    assert counts == sorted(counts)
    assert any(0 < count < 10 for count in counts)


def test_base64_is_the_same_vector_as_float(server: Server) -> None:
    batch = server.run([request_line("f", "x"), request_line("b", "x", encoding_format="base64")])
    found = {
        line["custom_id"]: line["response"]["body"]["data"][0]["embedding"]
        for line in server.lines(batch.output_file_id)
    }
    decoded = np.frombuffer(base64.b64decode(found["b"]), dtype="<f4")
    assert np.array_equal(decoded, np.asarray(found["f"], dtype=np.float32))
    assert np.linalg.norm(decoded) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("model", "dimensions"),
    [("text-embedding-3-small", 1536), ("text-embedding-3-large", 3072), ("text-embedding-ada-002", 1536)],
)
def test_each_model_has_its_own_dimensions(server: Server, model: str, dimensions: int) -> None:
    batch = server.run([request_line("a", model=model, dimensions=None)])
    (line,) = server.lines(batch.output_file_id)
    assert len(line["response"]["body"]["data"][0]["embedding"]) == dimensions
    answered = server.client.embeddings.create(model=model, input="text of a")
    assert answered.data[0].embedding == pytest.approx(line["response"]["body"]["data"][0]["embedding"], abs=1e-7)
    assert answered.usage.prompt_tokens == 3


def test_a_request_that_openai_refuses_lands_in_the_error_file(server: Server) -> None:
    """An empty input fails by itself; the batch completes."""
    batch = server.run([request_line("good"), request_line("empty", ""), request_line("big", dimensions=9999)])
    assert batch.status == "completed"
    assert batch.request_counts is not None
    assert batch.request_counts.model_dump() == {"total": 3, "completed": 1, "failed": 2}
    assert [line["custom_id"] for line in server.lines(batch.output_file_id)] == ["good"]
    errors = {line["custom_id"]: line for line in server.lines(batch.error_file_id)}
    assert set(errors) == {"empty", "big"}
    assert errors["empty"]["error"] is None
    assert errors["empty"]["response"]["status_code"] == 400
    assert "'$.input' is invalid" in errors["empty"]["response"]["body"]["error"]["message"]


def test_listing_pages_newest_first(server: Server) -> None:
    created = [server.create(request_lines(1)).id for _ in range(7)]
    newest_first = created[::-1]

    page = server.client.batches.list(limit=3)
    assert [batch.id for batch in page.data] == newest_first[:3]
    assert page.has_more is True
    raw = server.control.get("/v1/batches", params={"limit": 3, "after": newest_first[2]}).json()
    assert (raw["first_id"], raw["last_id"]) == (newest_first[3], newest_first[5])
    assert [batch.id for batch in server.client.batches.list(limit=3)] == newest_first
    assert server.client.batches.list(limit=7).has_more is False
    with pytest.raises(openai.BadRequestError):
        server.client.batches.list(limit=101)


def test_a_cancelled_batch_keeps_what_was_done(server: Server) -> None:
    server.plan({"latency_seconds": 1})
    batch = server.create(request_lines(50))
    server.wait(batch.id, lambda found: found.request_counts is not None and found.request_counts.completed > 5)
    assert server.client.batches.cancel(batch.id).status == "cancelling"
    ended = server.wait(batch.id)
    assert ended.status == "cancelled"
    assert ended.cancelling_at is not None
    assert ended.cancelled_at is not None
    answered = {line["custom_id"] for line in server.lines(ended.output_file_id)}
    unfinished = server.lines(ended.error_file_id)
    assert 0 < len(answered) < 50
    assert {line["error"]["code"] for line in unfinished} == {"batch_cancelled"}
    assert answered.isdisjoint(line["custom_id"] for line in unfinished)
    assert len(answered) + len(unfinished) == 50
    with pytest.raises(openai.ConflictError):
        server.client.batches.cancel(batch.id)


def test_files_and_models(server: Server) -> None:
    uploaded = server.client.files.create(file=("a.jsonl", b"line\n"), purpose="batch")
    assert server.client.files.retrieve(uploaded.id) == uploaded
    assert (uploaded.bytes, uploaded.purpose) == (5, "batch")
    assert server.client.files.content(uploaded.id).read() == b"line\n"
    assert [file.id for file in server.client.files.list()] == [uploaded.id]
    assert server.client.files.delete(uploaded.id).deleted is True
    with pytest.raises(openai.NotFoundError, match="No such File object"):
        server.client.files.content(uploaded.id)
    with pytest.raises(openai.BadRequestError, match=r"Must be \.jsonl"):
        server.client.files.create(file=b"{}", purpose="batch")
    assert "text-embedding-3-small" in {model.id for model in server.client.models.list()}
    assert server.client.models.retrieve("text-embedding-3-large").object == "model"


def test_unknown_things_answer_404_in_openais_shape(server: Server) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        server.client.batches.retrieve("batch_nobody")
    assert isinstance(caught.value.body, dict)
    assert set(caught.value.body) == {"message", "type", "param", "code"}
    with pytest.raises(openai.NotFoundError):
        server.client.models.retrieve("gpt-nothing")
    with pytest.raises(openai.NotFoundError):
        server.client.embeddings.create(model="gpt-nothing", input="a")
    with pytest.raises(openai.BadRequestError):
        server.client.embeddings.create(model="text-embedding-3-small", input="")
    assert server.control.get("/v1/nothing").json()["error"]["message"] == "Invalid URL (GET /v1/nothing)"
