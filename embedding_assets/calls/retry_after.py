"""How long a service asks to wait: the Retry-After header (RFC 9110, 10.2.3), and OpenAI's one in milliseconds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def retry_after_seconds(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds to wait, at least 0; None if the headers (names in lower case) do not say, or say nonsense."""
    for name, divisor in (("retry-after-ms", 1000.0), ("x-amz-retry-after", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) / divisor
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return _until(headers.get("retry-after", ""), now or datetime.now(UTC))


def _until(instant: str, now: datetime) -> float | None:
    try:
        wanted = parsedate_to_datetime(instant)
    except (ValueError, TypeError):
        return None
    aware = wanted if wanted.tzinfo is not None else wanted.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())
