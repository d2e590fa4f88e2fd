"""Every fault that the control API can order, seen through the OpenAI SDK."""

from __future__ import annotations

import base64
import json
import math
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import openai
import pytest

from embedding_assets_tests.local.conftest import Server, request_line, request_lines

CONTENT = "GET /v1/files/{id}/content"


def faults(*requests: dict[str, Any], **plan: Any) -> dict[str, Any]:
    return {"requests": list(requests), **plan}


def raw_lines(server: Server, file_id: str | None) -> list[str]:
    assert file_id
    return server.client.files.content(file_id).text.splitlines()


@pytest.mark.parametrize("status", ["completed", "failed", "expired", "cancelled"])
def test_every_final_status(server: Server, status: str) -> None:
    batch = server.run(request_lines(4), {"status": status})
    assert batch.status == status
    assert isinstance(getattr(batch, f"{status}_at"), int)
    if status == "failed":
        assert batch.errors is not None
        assert [error.code for error in batch.errors.data or []] == ["token_limit_exceeded"]
        assert batch.output_file_id is None
    else:
        assert len(server.lines(batch.output_file_id)) == 4


@pytest.mark.parametrize("held", ["validating", "in_progress", "finalizing", "cancelling"])
def test_a_batch_stays_until_it_is_released(server: Server, held: str) -> None:
    final = "cancelled" if held == "cancelling" else "completed"
    server.plan({"hold": held, "status": final})
    batch = server.create(request_lines(2))
    stays = server.wait(batch.id, lambda found: found.status == held)
    assert stays.output_file_id is None
    time.sleep(0.05)
    assert server.client.batches.retrieve(batch.id).status == held
    server.plan({"status": final}, batch.id)
    assert server.wait(batch.id).status == final


def test_plans_go_to_named_next_and_described_batches(server: Server) -> None:
    server.order("plans", {"plan": {"status": "expired"}, "metadata": {"kind": "late"}})
    server.order("plans", {"plan": {"status": "failed"}, "next": 2})
    late, first, second, third = (
        server.wait(server.create(request_lines(1), metadata).id).status
        for metadata in ({"kind": "late", "more": "x"}, None, None, None)
    )
    assert (late, first, second, third) == ("expired", "failed", "failed", "completed")


def test_a_plan_with_other_answers_makes_other_files(server: Server) -> None:
    batch = server.run(request_lines(3))
    server.plan(faults({"kind": "error", "count": 2}), batch.id)
    again = server.wait(batch.id)
    assert len(server.lines(again.output_file_id)) == 1
    assert len(server.lines(again.error_file_id)) == 2


def test_failed_requests_are_in_the_error_file_of_a_completed_batch(server: Server) -> None:
    quota = {"kind": "error", "custom_ids": ["r1"], "status_code": 429, "code": "insufficient_quota"}
    batch = server.run(request_lines(10), faults(quota, {"kind": "error", "fraction": 0.3}))
    errors = {line["custom_id"]: line for line in server.lines(batch.error_file_id)}
    assert len(errors) == 4
    assert errors["r1"]["error"] is None
    assert errors["r1"]["response"]["status_code"] == 429
    assert errors["r1"]["response"]["body"]["error"]["code"] == "insufficient_quota"
    assert Counter(line["response"]["status_code"] for line in errors.values()) == {429: 1, 500: 3}
    assert len(server.lines(batch.output_file_id)) == 6
    assert batch.request_counts is not None
    assert batch.request_counts.model_dump() == {"total": 10, "completed": 6, "failed": 4}


def test_an_expired_batch_has_partial_output(server: Server) -> None:
    plan = faults({"kind": "unfinished", "fraction": 0.5}, {"kind": "silent", "count": 2}, status="expired")
    batch = server.run(request_lines(10), plan)
    unfinished = server.lines(batch.error_file_id)
    assert {(line["response"], line["error"]["code"]) for line in unfinished} == {(None, "batch_expired")}
    assert (len(unfinished), len(server.lines(batch.output_file_id))) == (5, 3)


def test_a_batch_of_failures_has_no_output_file(server: Server) -> None:
    batch = server.run(request_lines(3), faults({"kind": "error", "fraction": 1}))
    assert batch.status == "completed"
    assert batch.output_file_id is None
    assert len(server.lines(batch.error_file_id)) == 3


def test_absent_files_as_empty_strings(server: Server) -> None:
    batch = server.run(request_lines(3), {"empty_file_ids": True})
    assert batch.output_file_id
    assert batch.error_file_id == ""


def test_completed_without_any_file_and_lying_fields(server: Server) -> None:
    counts = {"total": 9, "completed": 9, "failed": 0}
    batch = server.run(request_lines(3), {"no_output_file": True, "fields": {"request_counts": counts}})
    assert (batch.status, batch.output_file_id, batch.error_file_id) == ("completed", None, None)
    assert batch.request_counts is not None
    assert batch.request_counts.model_dump() == counts


def test_unusable_answers(server: Server) -> None:
    kinds = ("malformed", "nan", "wrong_dimension", "empty_vector", "no_data")
    plan = faults(*({"kind": kind, "custom_ids": [kind, f"{kind}64"]} for kind in kinds))
    lines = [request_line(kind) for kind in ("good", *kinds)]
    lines += [request_line(f"{kind}64", encoding_format="base64") for kind in kinds]
    batch = server.run(lines, plan)
    written = raw_lines(server, batch.output_file_id)
    assert len(written) == 11
    broken = [line for line in written if not line.endswith("}")]
    assert len(broken) == 2
    data = {
        line["custom_id"]: line["response"]["body"]["data"]
        for line in map(json.loads, (line for line in written if line not in broken))
    }
    vectors = {name: found[0]["embedding"] for name, found in data.items() if found}
    assert {name for name, found in data.items() if not found} == {"no_data", "no_data64"}
    assert len(vectors["good"]) == 8
    assert math.isnan(vectors["nan"][0])
    assert not any(map(math.isnan, vectors["nan"][1:]))
    assert np.isnan(np.frombuffer(base64.b64decode(vectors["nan64"]), "<f4")).sum() == 1
    assert len(vectors["wrong_dimension"]) == 7
    assert len(base64.b64decode(vectors["wrong_dimension64"])) == 28
    assert (vectors["empty_vector"], vectors["empty_vector64"]) == ([], "")


def test_duplicate_and_unknown_answers(server: Server) -> None:
    plan = faults(
        {"kind": "duplicate", "custom_ids": ["r0"]},
        {"kind": "conflicting_duplicate", "custom_ids": ["r1"]},
        {"kind": "answered_and_failed", "custom_ids": ["r2"]},
        unknown_ids=["stranger"],
    )
    batch = server.run(request_lines(4), plan)
    output = server.lines(batch.output_file_id)
    assert Counter(line["custom_id"] for line in output) == {
        "r0": 2,
        "r1": 2,
        "r2": 1,
        "r3": 1,
        "stranger": 1,
    }
    by_id = {
        name: [line["response"]["body"]["data"][0]["embedding"] for line in output if line["custom_id"] == name]
        for name in ("r0", "r1")
    }
    assert by_id["r0"][0] == by_id["r0"][1]
    assert by_id["r1"][0] != by_id["r1"][1]
    assert [line["custom_id"] for line in server.lines(batch.error_file_id)] == ["r2"]


def test_output_deleted_and_batch_unknown(server: Server) -> None:
    batch = server.run(request_lines(2))
    assert batch.output_file_id
    server.plan({"output_deleted": True}, batch.id)
    with pytest.raises(openai.NotFoundError):
        server.client.files.content(batch.output_file_id)
    assert server.client.files.content(batch.input_file_id).read()
    server.plan({"batch_unknown": True}, batch.id)
    with pytest.raises(openai.NotFoundError):
        server.client.batches.retrieve(batch.id)
    assert server.client.batches.list().data == []


def test_planted_batches_are_served_byte_for_byte(server: Server) -> None:
    planted = server.order(
        "batches",
        {
            "id": "batch_planted",
            "status": "expired",
            "input": request_line("a") + "\n",
            "output": 'not json\n{"custom_id": "a"}\n',
            "errors": "",
            "created_at": 1_700_000_000,
            "fields": {"request_counts": {"total": 5, "completed": 7, "failed": -1}},
        },
    )
    batch = server.client.batches.retrieve("batch_planted")
    assert (batch.status, batch.created_at, batch.expired_at) == ("expired", 1_700_000_000, 1_700_000_000)
    assert batch.to_dict()["request_counts"] == {"total": 5, "completed": 7, "failed": -1}
    assert server.client.files.content(planted["output_file_id"]).read() == b'not json\n{"custom_id": "a"}\n'
    assert server.client.files.content(planted["error_file_id"]).read() == b""
    assert server.lines(planted["input_file_id"])[0]["custom_id"] == "a"
    newer = server.create(request_lines(1))
    assert [found.id for found in server.client.batches.list()] == [newer.id, "batch_planted"]

    raw = base64.b64encode(b"\xff\xfe\n").decode()
    planted = server.order("batches", {"id": "batch_planted", "output_base64": raw})
    assert server.client.files.content(planted["output_file_id"]).read() == b"\xff\xfe\n"
    assert planted["error_file_id"] is None
    server.control.delete("/_control/batches/batch_planted").raise_for_status()
    with pytest.raises(openai.NotFoundError):
        server.client.batches.retrieve("batch_planted")


def test_http_faults_happen_as_often_as_ordered(server: Server) -> None:
    batch = server.run(request_lines(2))
    assert batch.output_file_id
    route = "GET /v1/batches/{id}"
    server.order("faults", {"route": route, "status": 429, "code": "rate_limit_exceeded", "times": 2})
    server.order("faults", {"route": route, "status": 503, "retry_after": 7})
    server.order("faults", {"route": route, "reset": True})
    for _ in range(2):
        with pytest.raises(openai.RateLimitError):
            server.client.batches.retrieve(batch.id)
    with pytest.raises(openai.InternalServerError) as unavailable:
        server.client.batches.retrieve(batch.id)
    assert unavailable.value.response.headers["retry-after"] == "7.0"
    with pytest.raises(openai.APIConnectionError) as cut:
        server.client.batches.retrieve(batch.id)
    assert "reset by peer" in str(cut.value.__cause__)
    assert server.client.batches.retrieve(batch.id).id == batch.id

    server.order("faults", {"route": CONTENT, "truncate_after": 100, "contains": batch.output_file_id})
    assert server.client.files.content(batch.input_file_id).read()
    with pytest.raises(openai.APIConnectionError):
        server.client.files.content(batch.output_file_id)
    assert server.client.files.content(batch.output_file_id).read()
    server.order("faults", {"route": "*", "status": 500, "times": None})
    with pytest.raises(openai.InternalServerError):
        server.client.models.list()
    server.control.delete("/_control/faults").raise_for_status()
    assert server.client.models.list().data


def test_counters_tell_how_many_downloads_ran_at_once(server: Server) -> None:
    batch = server.run(request_lines(2))
    assert batch.output_file_id
    server.order("faults", {"route": CONTENT, "delay_seconds": 0.5, "times": None})
    with ThreadPoolExecutor(12) as pool:
        assert len(list(pool.map(server.client.files.content, [batch.output_file_id] * 12))) == 12
    while (counted := server.counters()[CONTENT])["in_flight"]:
        time.sleep(0.01)  # a client has its answer a moment before the server is done with it
    assert counted == {"requests": 12, "in_flight": 0, "max_in_flight": 12}
    server.order("counters/reset")
    assert server.counters() == {}


def test_a_misspelt_order_is_refused(server: Server) -> None:
    for path, body in (
        ("plans", {"plan": {"statuss": "failed"}, "next": 1}),
        ("plans", {"plan": {}}),
        ("plans", {"plan": {"hold": "cancelling"}, "next": 1}),
        ("faults", {"route": "*", "status": 200}),
    ):
        response = server.control.post(f"/_control/{path}", json=body)
        assert response.status_code == 400
        assert response.json()["error"]["message"]


@pytest.mark.parametrize("unnoticed", ["no_length", "gzip"])
@pytest.mark.parametrize("cut", [True, False])
def test_a_cut_that_http_does_not_notice(server: Server, unnoticed: str, cut: bool) -> None:
    """The client gets a shorter body without any error; without a cut, the whole one."""
    batch = server.run(request_lines(20))
    whole = raw_lines(server, batch.output_file_id)
    after = {"truncate_after": 300} if cut else {}
    server.order("faults", {"route": CONTENT, "unnoticed": unnoticed, **after})
    got = server.client.files.content(batch.output_file_id or "").content
    size = server.client.files.retrieve(batch.output_file_id or "").bytes
    assert (len(got) < size) is cut
    assert "\n".join(whole).startswith(got.decode().rstrip("\n"))
    assert raw_lines(server, batch.output_file_id) == whole


def test_a_page_instead_of_an_answer(server: Server) -> None:
    server.order("faults", {"route": "GET /v1/models", "text": "<html>wait</html>"})
    answer = server.client.models.with_raw_response.list()
    assert (answer.status_code, answer.text) == (200, "<html>wait</html>")
    assert answer.headers["content-type"].startswith("text/html")


def test_a_key_of_another_project_sees_an_empty_account(server: Server) -> None:
    batch = server.run(request_lines(1))
    server.order("projects", {"key": "sk-other"})
    other = server.client.with_options(api_key="sk-other")
    assert not list(other.batches.list())
    assert not list(other.files.list())
    for ask in (
        lambda: other.batches.retrieve(batch.id),
        lambda: other.files.retrieve(batch.output_file_id or ""),
        lambda: other.files.content(batch.output_file_id or ""),
    ):
        with pytest.raises(openai.NotFoundError):
            ask()
    assert other.models.list().data
    assert server.client.batches.retrieve(batch.id).id == batch.id
    server.order("reset")
    with pytest.raises(openai.NotFoundError):
        other.batches.retrieve(batch.id)
