"""Money as people read it."""

from __future__ import annotations

import math

LEAST_DIGITS = 4
MOST_DIGITS = 9
"""After the point. OpenAI's cheapest model costs 0.00000001 USD a token."""


def usd_text(usd: float) -> str:
    """USD with two digits that are not zero, however small: `0.0123`, `0.00000042`; `0` for nothing."""
    if not usd:
        return "0"
    digits = 1 - math.floor(math.log10(usd))
    return f"{usd:.{min(MOST_DIGITS, max(LEAST_DIGITS, digits))}f}"
