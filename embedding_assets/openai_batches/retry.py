"""Whether sending a request again can help, judged by how it ended. Pure."""

from __future__ import annotations

from embedding_assets.openai_batches.batch_status import UNANSWERED_CODES

PASSING_STATUS = frozenset({408, 409, 429})
"""HTTP statuses below 500 that tell of the moment, not of the request."""

PASSING_WORDS = ("limit", "quota", "server_error", "internal", "timeout", "unavailable", "overloaded")
"""Parts of the codes with which OpenAI fails a whole batch for what lies outside of it, `token_limit_exceeded`
say; its other codes are what validation found in the input file."""

LASTING_CODES = frozenset(
    {
        "context_length_exceeded",
        "string_above_max_length",
        "model_not_found",
        "content_policy_violation",
        "malformed_request",
        "no_id",
        "duplicate_id",
        "ambiguous_id",
        "metadata_refused",
        "other_model",
        "several_inputs",
        "several_vectors",
    }
)
"""Codes beside `invalid_…` that blame the request or its record, if no HTTP status says so."""


def can_help(reason: str, code: str, status_code: int | None = None) -> bool:
    """Whether the same request may succeed when it is sent again: the fields are those of `errors.jsonl`.

    True for what was never answered, for 408, 409, 429 and 5xx, and for an answer that cannot be used; false for
    a request, or an input file, that OpenAI refused.
    """
    if reason == "unfinished":
        return code in UNANSWERED_CODES or is_passing(code)
    if status_code is not None and 400 <= status_code < 500:
        return status_code in PASSING_STATUS
    return code not in LASTING_CODES and not code.startswith("invalid_")


def is_passing(code: str) -> bool:
    """Whether OpenAI failed a whole batch for a passing reason: a limit, a quota, a fault of its own."""
    if code.startswith("http_") and code[5:].isdecimal():
        return int(code[5:]) in PASSING_STATUS or int(code[5:]) >= 500
    return any(word in code for word in PASSING_WORDS)
