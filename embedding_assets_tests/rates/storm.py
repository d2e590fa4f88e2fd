"""An ingest while calls go wrong, and after: what it did, how often it called, and what it may never do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import dagster as dg
import pytest

from embedding_assets.dagster_defs.runs.ingest import ingest
from embedding_assets.errors import EmbeddingAssetsError
from embedding_assets.services import Services
from embedding_assets.settings import load_settings
from embedding_assets_tests.rates.backlog import DATABASES
from embedding_assets_tests.rates.faults import Dice
from embedding_assets_tests.rates.proxy import Proxy
from embedding_assets_tests.rates.servers import Servers

STORMY_TICKS = 3
"""Ingests while calls go wrong, unless everything is done before."""
CALM_TICKS = 3
"""Ingests after the last fault, in which everything must be published and marked."""
HURRY = 50
"""Waits are shorter by this factor: the SDKs' back-off, the steps' retries, the looks at the lock."""
ENVIRONMENT = {"EMBEDDING_ASSETS_LOCK_LEASE_SECONDS": "5", "EMBEDDING_ASSETS_POLL_CONCURRENCY": "16"}
"""A short lease; no more threads than a small machine has use for."""

MOST_CALLS = {0.0: 1500, 0.01: 2000, 0.05: 3000, 0.2: 4500}
"""How many calls an ingest of the backlog may make, by the rate of those that go wrong."""


@dataclass
class Storm:
    """One run: `rate` of all calls go wrong by `seed`, then none. `problems` are what ingests ended with."""

    seed: int
    rate: float
    dice: Dice
    problems: list[str] = field(default_factory=list)
    stormy_ticks: int = 0
    calm_ticks: int = 0

    @property
    def calls(self) -> int:
        """All calls while some went wrong."""
        return self.dice.calls.total()


def run(servers: Servers, proxy: Proxy, seed: int, rate: float) -> Storm:
    """Ingest the whole backlog in a storm, then in calm weather, and check what came of it."""
    servers.begin()
    storm = Storm(seed, rate, proxy.throw(seed, rate))
    with dg.DagsterInstance.ephemeral() as instance:
        done = False
        while not done and storm.stormy_ticks < STORMY_TICKS:
            storm.stormy_ticks += 1
            done = _tick(instance, storm)
        proxy.throw(seed, 0.0)
        while not done and storm.calm_ticks < CALM_TICKS:
            storm.calm_ticks += 1
            done = _tick(instance, storm)
        servers.check(instance)
    return storm


def _tick(instance: dg.DagsterInstance, storm: Storm) -> bool:
    """One `ingest` as a new process would do it; true if nothing failed: then nothing is left to do."""
    services = Services(load_settings())
    try:
        report = ingest(services, instance, DATABASES, until_drained=True, progress=lambda line: None)
    except EmbeddingAssetsError as error:
        storm.problems.append(f"{type(error).__name__}: {error}")
        return False
    storm.problems += report.failures
    return not report.failures


@contextmanager
def in_a_hurry() -> Iterator[None]:
    """While open, nobody sleeps long."""
    sleep = time.sleep
    quick = dg.RetryPolicy(max_retries=3, delay=2.0 / HURRY, backoff=dg.Backoff.EXPONENTIAL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", lambda seconds: sleep(seconds / HURRY))
        for module in ("polling", "merging"):
            patch.setattr(f"embedding_assets.dagster_defs.assets.{module}.RETRIES", quick)
        yield
