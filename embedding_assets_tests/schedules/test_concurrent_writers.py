"""Two to eight processes merge and mark one backlog, are stopped past their lease and killed: nothing is lost."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from embedding_assets.bucket.store import Store
from embedding_assets.databases import LINES
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets.versions.manifest import read_pointer
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.places import make_place
from embedding_assets_tests.schedules.plain_index import instead_of_chroma
from embedding_assets_tests.schedules.writers import Order, Writer, some_of
from embedding_assets_tests.schedules.yard import LEASE_SECONDS, Yard

LOG = logging.getLogger(__name__)
PATIENCE = 120.0
"""Far above what eight writers take on a loaded machine."""


class Crew:
    """Writers that are used again; whoever died is replaced."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._writers: list[Writer] = []

    def of(self, size: int) -> list[Writer]:
        """So many living writers."""
        self._writers = [one for one in self._writers if one.is_alive]
        while len(self._writers) < size:
            self._writers.append(Writer(self._environment))
        return self._writers[:size]

    def end(self) -> None:
        """Nobody is left."""
        for writer in self._writers:
            writer.kill()


@pytest.fixture
def crew(stack: EmbeddedStack, aws: AwsClients, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crew]:
    """No writers yet."""
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    instead_of_chroma(monkeypatch)
    made = Crew(dict(os.environ))
    yield made
    made.end()


class Watch(threading.Thread):
    """Reads the pointer all the time: its epoch never falls."""

    def __init__(self, store: Store) -> None:
        super().__init__(daemon=True)
        self._store = store
        self._end = threading.Event()
        self.epochs: list[int] = []

    def run(self) -> None:
        while not self._end.wait(0.02):
            pointer = read_pointer(self._store, LINES)
            if pointer is not None:
                self.epochs.append(pointer.epoch)

    def end(self) -> list[int]:
        """What it saw."""
        self._end.set()
        self.join()
        return self.epochs


def schedule(aws: AwsClients, crew: Crew, seed: int) -> Counter[str]:
    """One schedule; AssertionError with its seed where an invariant broke. Returns what was done to writers."""
    chance = random.Random(seed)
    bucket, table = make_place(aws)
    yard = Yard()
    yard.store = Store(bucket, aws.s3, aws.s3_once)
    yard.ledger = Ledger(table, aws.dynamodb)
    for number in range(chance.randint(3, 8)):
        ids = chance.sample(range(12), chance.randint(1, 4))
        yard.arrive(f"b{number}", {f"r{one}": chance.randint(0, 99) for one in ids}, chance.randint(0, 5))
    results = tuple(result for result, _ in yard.polled.values())
    writers = crew.of(chance.randint(2, 8))
    watch = Watch(yard.store)
    watch.start()
    for writer in writers:
        writer.order(Order(bucket, table, results, chance.getrandbits(40)))
    done: Counter[str] = Counter()
    for _ in range(chance.randint(0, 3)):
        time.sleep(chance.uniform(0, 0.5))
        _disturb(writers, chance, done)
    reports = [writer.answer(PATIENCE) for writer in writers]
    marked = Counter(batch for report in reports if report is not None for batch in report)
    yard.drain()
    epochs = watch.end()
    assert epochs == sorted(epochs), f"seed {seed}: an epoch fell"
    assert all(times == 1 for times in marked.values()), f"seed {seed}: marked twice: {marked}"
    return done


def _disturb(writers: list[Writer], chance: random.Random, done: Counter[str]) -> None:
    writer = some_of(writers, chance)
    if writer is None:
        return
    if chance.random() < 0.4:
        writer.kill()
        done["kills"] += 1
        return
    writer.stop()
    time.sleep(chance.uniform(1.1, 1.6) * LEASE_SECONDS)
    writer.go_on()
    done["pauses"] += 1


def schedules(aws: AwsClients, crew: Crew, seeds: range) -> None:
    """Each seed is a schedule."""
    total: Counter[str] = Counter()
    for seed in seeds:
        try:
            total += schedule(aws, crew, seed)
        except Exception as error:
            raise AssertionError(f"schedule of seed {seed}: {error}") from error
    LOG.warning("%d schedules, %d pauses past the lease, %d kills", len(seeds), total["pauses"], total["kills"])


def test_writers_side_by_side(aws: AwsClients, crew: Crew) -> None:
    """Some schedules."""
    schedules(aws, crew, range(5))


@pytest.mark.long
def test_writers_side_by_side_for_long(aws: AwsClients, crew: Crew) -> None:
    """Five hundred."""
    schedules(aws, crew, range(1000, 1500))
