"""`errors.jsonl` by code, also if its lines are of an older version or of nobody."""

from __future__ import annotations

import json
from typing import Any

import pytest

from embedding_assets.operations.request_errors import group_errors


def line(**values: Any) -> bytes:
    """One line of `errors.jsonl`."""
    error = {"id": "x", "reason": "failed", "code": "server_error", "message": "no\n luck", "status_code": 500}
    return json.dumps({**error, **values}).encode()


@pytest.mark.parametrize(
    ("values", "retryable"),
    [
        ({"retryable": False}, False),
        ({"retryable": True, "status_code": 400}, True),
        ({}, True),
        ({"status_code": 429}, True),
        ({"status_code": 400, "code": "invalid_request"}, False),
        ({"status_code": None, "reason": "unfinished", "code": "batch_expired"}, True),
    ],
)
def test_whether_a_retry_can_help(values: dict[str, Any], retryable: bool) -> None:
    """As the line says; an older line, without that, is judged by its code and status."""
    (group,) = group_errors([line(**values)])
    assert group.retryable is retryable


def test_the_most_frequent_comes_first() -> None:
    """Grouped by reason, code and retry; three examples, one message on one line."""
    lines = [line(id="odd", code="odd", retryable=False), *(line(id=f"id-{number}") for number in range(4))]
    first, second = group_errors([*lines, b"", b"  "])
    assert (first.count, first.code, first.examples) == (4, "server_error", ("id-0", "id-1", "id-2"))
    assert first.summary == "4 failed: server_error, a retry can help: no luck (id-0, id-1, id-2, …)"
    assert second.summary == "1 failed: odd, a retry cannot help: no luck (odd)"


@pytest.mark.parametrize("broken", [b"{", b"[]", b"\xff"])
def test_a_broken_line_is_counted(broken: bytes) -> None:
    """It stops nothing and does not vanish."""
    groups = group_errors([broken, line()])
    assert sorted((group.code, group.count) for group in groups) == [("server_error", 1), ("unreadable_line", 1)]
