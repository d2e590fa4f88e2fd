"""Which storms are run: each seed has its rate, and those that once failed are kept."""

from __future__ import annotations

import json
from pathlib import Path

RATES = (0.01, 0.05, 0.2)
MANY = range(200)
"""The seeds of `make test-long`."""
FEW = (2,)
"""That of `make test`: 20 %."""
FAILED = Path(__file__).with_name("failed_seeds.json")
"""Seeds that failed once, as a JSON list: `make test` runs these too. A long run adds those that fail."""


def rate_of(seed: int) -> float:
    """The rate of faults that belongs to a seed."""
    return RATES[seed % len(RATES)]


def failed_seeds() -> list[int]:
    """The seeds that failed once."""
    seeds: list[int] = json.loads(FAILED.read_text())
    return seeds


def keep_failed(seed: int) -> None:
    """Add a seed to those that failed."""
    FAILED.write_text(json.dumps(sorted({*failed_seeds(), seed})) + "\n")
