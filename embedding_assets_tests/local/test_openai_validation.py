"""An input file that OpenAI would not accept fails its batch as a whole, with its reasons by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedding_assets.local.openai_input import MAX_BYTES, read_input
from embedding_assets_tests.local.conftest import Server, request_line

ENDPOINT = "/v1/embeddings"


@pytest.mark.parametrize(
    ("bad", "code", "param"),
    [
        ('{"custom_id": "b", ', "invalid_json_line", None),
        ("[1]", "invalid_json_line", None),
        (request_line("a"), "duplicate_custom_id", "custom_id"),
        (request_line("b", url="/v1/chat/completions"), "invalid_url", "url"),
        (request_line(""), "missing_required_parameter", "custom_id"),
        (request_line("b", model="gpt-nothing"), "model_not_found", "body.model"),
        (request_line("b", model="text-embedding-3-large"), "mismatched_model", "body.model"),
    ],
)
def test_one_bad_line_fails_the_batch(server: Server, bad: str, code: str, param: str | None) -> None:
    batch = server.run([request_line("a"), bad])
    assert batch.status == "failed"
    assert batch.failed_at is not None
    assert (batch.output_file_id, batch.error_file_id) == (None, None)
    assert batch.errors is not None
    assert batch.errors.object == "list"
    assert batch.errors.data is not None
    (error,) = batch.errors.data
    assert (error.code, error.line, error.param) == (code, 2, param)
    assert error.message


def test_an_empty_file_fails_the_batch(server: Server) -> None:
    batch = server.run(["", ""])
    assert batch.errors is not None
    assert [error.code for error in batch.errors.data or []] == ["empty_file"]


@pytest.mark.parametrize(
    ("requests", "inputs", "accepted"), [(50_000, 1, True), (50_001, 1, False), (501, 100, False)]
)
def test_request_and_input_limits(tmp_path: Path, requests: int, inputs: int, accepted: bool) -> None:
    path = tmp_path / "in.jsonl"
    text = "x" if inputs == 1 else ["x"] * inputs
    path.write_text("\n".join(request_line(f"r{index}", text) for index in range(requests)), "utf-8")
    found = read_input(path, ENDPOINT)
    assert [error.code for error in found.errors] == ([] if accepted else ["too_many_tasks"])


def test_the_size_limit_is_200_mib(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    with path.open("wb") as sparse:
        sparse.truncate(MAX_BYTES + 1)
    assert [error.code for error in read_input(path, ENDPOINT).errors] == ["file_too_large"]
    assert MAX_BYTES == 209_715_200
