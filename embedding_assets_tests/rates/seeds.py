"""Which storms are run: each seed has its rate, and those that once failed are kept."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

LOG = logging.getLogger(__name__)

World = Literal["servers", "memory"]
"""Where a storm is: on the local servers behind the proxy, or in memory."""

RATES = (0.01, 0.05, 0.2)
OUTAGES = (0.6, 0.8, 1.0)
"""Rates at which next to nothing comes through."""
MANY = range(200)
"""The seeds of `make test-long`, in each world."""
FEW: dict[World, tuple[int, ...]] = {"servers": (2,), "memory": (1, 2)}
"""Those of `make test`: seed 1 is one of 5 %, seed 2 one of 20 %."""
FAILED = Path(__file__).with_name("failed_seeds.json")
"""Seeds that failed once, by world: `make test` runs these too."""


def rate_of(seed: int) -> float:
    """The rate of faults that belongs to a seed."""
    return RATES[seed % len(RATES)]


def quick_seeds(world: World) -> list[int]:
    """The seeds of `make test`: a few, and those that failed once."""
    return sorted({*FEW[world], *_failed()[world]})


@contextmanager
def kept_if_it_fails(world: World, seed: int) -> Iterator[None]:
    """A storm, as the block: if it fails, its seed is printed and kept."""
    try:
        yield
    except BaseException:
        LOG.warning("seed %s (%s, %.0f %%) failed", seed, world, 100 * rate_of(seed))
        failed = _failed()
        failed[world] = sorted({*failed[world], seed})
        FAILED.write_text(json.dumps(failed) + "\n")
        raise


def _failed() -> dict[World, list[int]]:
    seeds: dict[World, list[int]] = json.loads(FAILED.read_text())
    return seeds
