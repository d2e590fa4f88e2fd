"""Rates of faults: an ingest in which 1, 5 or 20 % of all calls go wrong loses nothing and blames no batch.

The calls go wrong below the SDKs, in a proxy at the socket. After the last fault three ingests must be enough.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from embedding_assets_tests.rates.proxy import Proxy
from embedding_assets_tests.rates.seeds import FEW, MANY, failed_seeds, keep_failed, rate_of
from embedding_assets_tests.rates.servers import Servers
from embedding_assets_tests.rates.storm import run
from embedding_assets_tests.rates.tally import Tally

LOG = logging.getLogger(__name__)


@pytest.mark.parametrize("seed", sorted({*FEW, *failed_seeds()}))
def test_a_storm_loses_nothing(servers: Servers, proxy: Proxy, seed: int) -> None:
    """Same content, final statuses, reports; nobody is blamed, and calls are bounded."""
    storm = run(servers, proxy, seed, rate_of(seed))
    assert storm.dice.struck.total() > 0


@pytest.fixture(scope="module")
def tally() -> Iterator[Tally]:
    """Printed at the end."""
    made = Tally()
    yield made
    LOG.warning("%s", made)


@pytest.mark.long
def test_calm_weather(servers: Servers, proxy: Proxy) -> None:
    """What the others are compared with: one ingest, so many calls at most."""
    storm = run(servers, proxy, 0, 0.0)
    assert (storm.problems, storm.stormy_ticks, storm.calm_ticks) == ([], 1, 0)


@pytest.mark.long
@pytest.mark.parametrize("seed", MANY)
def test_many_storms(servers: Servers, proxy: Proxy, tally: Tally, seed: int) -> None:
    """The same, for many seeds; one that fails is kept."""
    try:
        tally.storms.append(run(servers, proxy, seed, rate_of(seed)))
    except BaseException:
        LOG.warning("seed %s failed", seed)
        tally.failed.append(seed)
        keep_failed(seed)
        raise
