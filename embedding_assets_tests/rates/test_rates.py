"""Rates of faults: an ingest in which 1, 5 or 20 % of all calls go wrong loses nothing and blames no batch.

The calls go wrong below the SDKs, in a proxy at the socket. After the last fault three ingests must be enough.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from embedding_assets_tests.rates.proxy import Proxy
from embedding_assets_tests.rates.seeds import MANY, OUTAGES, kept_if_it_fails, quick_seeds, rate_of
from embedding_assets_tests.rates.servers import Servers
from embedding_assets_tests.rates.storm import MOST_CALLS, run
from embedding_assets_tests.rates.tally import Tally

LOG = logging.getLogger(__name__)


@pytest.mark.parametrize("seed", quick_seeds("servers"))
def test_a_storm_loses_nothing(servers: Servers, proxy: Proxy, seed: int) -> None:
    """Same content, final statuses, reports; nobody is blamed, and calls are bounded."""
    storm = run(servers, proxy, seed, rate_of(seed))
    assert storm.dice.struck.total() > 0
    assert storm.calls <= MOST_CALLS[storm.rate]


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
    assert storm.calls <= MOST_CALLS[storm.rate]
    LOG.warning("%s calls in calm weather", storm.calls)


@pytest.mark.long
@pytest.mark.parametrize("seed", MANY)
def test_many_storms(servers: Servers, proxy: Proxy, tally: Tally, seed: int) -> None:
    """The same, for many seeds."""
    with kept_if_it_fails("servers", seed):
        storm = run(servers, proxy, seed, rate_of(seed))
        tally.storms.append(storm)
        assert storm.calls <= MOST_CALLS[storm.rate]


@pytest.mark.long
@pytest.mark.parametrize("rate", OUTAGES)
def test_after_an_outage_three_ingests_are_enough(servers: Servers, proxy: Proxy, rate: float) -> None:
    """Most calls go wrong for so long that nothing comes through; then everything is published and marked."""
    storm = run(servers, proxy, seed=0, rate=rate)
    assert storm.calm_ticks >= 1
