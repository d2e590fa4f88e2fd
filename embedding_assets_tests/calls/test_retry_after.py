"""Retry-After as services write it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from embedding_assets.calls.retry_after import retry_after_seconds

NOW = datetime(2026, 11, 26, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"x-amz-retry-after": "1500"}, 1.5),
        ({"retry-after": "Thu, 26 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Thu, 26 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after-ms": "soon", "retry-after": "2"}, 2.0),
    ],
    ids=str,
)
def test_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds, milliseconds, a date; nonsense is no answer."""
    assert retry_after_seconds(headers, NOW) == seconds
