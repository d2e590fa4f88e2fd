"""Whether a retry can help: every way in which a request can end without an embedding."""

from __future__ import annotations

import pytest

from embedding_assets.openai_batches.poll_result import RequestError
from embedding_assets.openai_batches.retry import can_help

HELPS = [
    ("unfinished", "batch_expired", None),
    ("unfinished", "batch_cancelled", None),
    ("unfinished", "batch_canceled", None),
    ("unfinished", "batch_failed", None),
    ("unfinished", "batch_not_found", None),
    ("unfinished", "batch_refused", None),
    ("unfinished", "no_answer", None),
    ("unfinished", "token_limit_exceeded", None),
    ("unfinished", "insufficient_quota", None),
    ("unfinished", "billing_hard_limit_reached", None),
    ("unfinished", "http_429", None),
    ("unfinished", "http_503", None),
    ("failed", "request_timeout", 408),
    ("failed", "http_409", 409),
    ("failed", "rate_limit_exceeded", 429),
    ("failed", "insufficient_quota", 429),
    ("failed", "server_error", 500),
    ("failed", "http_503", 503),
    ("failed", "server_error", None),
    ("failed", "malformed_line", None),
    ("failed", "malformed_vector", None),
    ("failed", "empty_answer", 200),
    ("failed", "empty_vector", None),
    ("failed", "not_finite", None),
    ("failed", "zero_vector", None),
    ("failed", "wrong_dimensions", None),
]
HELPS_NOT = [
    ("unfinished", "invalid_json_line", None),
    ("unfinished", "mismatched_model", None),
    ("unfinished", "empty_file", None),
    ("unfinished", "http_400", None),
    ("failed", "invalid_request_error", 400),
    ("failed", "context_length_exceeded", 400),
    ("failed", "http_404", 404),
    ("failed", "http_422", 422),
    ("failed", "invalid_request_error", None),
    ("failed", "string_above_max_length", None),
    ("failed", "malformed_request", None),
    ("failed", "no_id", None),
    ("failed", "duplicate_id", None),
    ("failed", "ambiguous_id", None),
    ("failed", "metadata_refused", None),
    ("failed", "other_model", None),
    ("failed", "several_inputs", None),
    ("failed", "several_vectors", None),
]


@pytest.mark.parametrize(("reason", "code", "status_code"), HELPS)
def test_a_retry_can_help(reason: str, code: str, status_code: int | None) -> None:
    """Never answered, or an answer that another try may better."""
    assert can_help(reason, code, status_code)


@pytest.mark.parametrize(("reason", "code", "status_code"), HELPS_NOT)
def test_a_retry_cannot_help(reason: str, code: str, status_code: int | None) -> None:
    """The request, or the file it came in, is to blame."""
    assert not can_help(reason, code, status_code)


def test_a_line_of_errors_tells_it() -> None:
    """It is written with the line, and judged again when a line without it, of an earlier version, is read."""
    line = '{"id": "r", "reason": "failed", "code": "server_error", "message": "m", "status_code": 500}'
    error = RequestError.model_validate_json(line)
    assert error.retryable
    assert error.model_dump_json() == (
        '{"id":"r","reason":"failed","code":"server_error","message":"m","status_code":500,"retryable":true}'
    )
    assert RequestError.model_validate_json(error.model_dump_json()) == error
