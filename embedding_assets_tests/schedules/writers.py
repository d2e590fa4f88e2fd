"""Writers as processes of their own, that can be stopped and killed; each merges and marks what it is given."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess

import pytest

from embedding_assets.bucket.aws import dynamodb_client, s3_client
from embedding_assets.bucket.store import Store
from embedding_assets.databases import LINES
from embedding_assets.errors import EmbeddingAssetsError
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.versions.mark import mark_published
from embedding_assets_tests.schedules.plain_index import instead_of_chroma
from embedding_assets_tests.schedules.yard import Yard

ROUNDS = 2
"""Executions that a writer makes of what it finds waiting."""


@dataclass(frozen=True)
class Order:
    """What a writer shall do."""

    bucket: str
    table: str
    results: tuple[PollResult, ...]
    seed: int


class Writer:
    """One such process."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["embedding_assets_tests.schedules.writers"])
        self._ours, theirs = context.Pipe()
        self._process: ForkServerProcess = context.Process(
            target=_serve, args=(theirs, dict(environment)), daemon=True
        )
        self._process.start()
        theirs.close()

    def order(self, order: Order) -> None:
        """Begin."""
        self._ours.send(order)

    def answer(self, seconds: float) -> list[tuple[str, int]] | None:
        """Which batches it marked, with their generation; None if it died."""
        try:
            return self._ours.recv() if self._ours.poll(seconds) else None
        except (EOFError, ConnectionResetError):
            return None

    def stop(self) -> None:
        """Pause it, with all of its threads."""
        os.kill(self._pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        os.kill(self._pid, signal.SIGCONT)

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.join()

    @property
    def is_alive(self) -> bool:
        """Whether it can take another order."""
        return self._process.is_alive()

    @property
    def _pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid


def _serve(orders: Connection, environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    instead_of_chroma(pytest.MonkeyPatch())
    s3, once, dynamodb = s3_client(), s3_client(retries=False), dynamodb_client()
    while True:
        order: Order = orders.recv()
        yard = Yard()
        yard.store = Store(order.bucket, s3, once)
        yard.ledger = Ledger(order.table, dynamodb)
        yard.polled = {(result.batch_id, result.generation): (result, {}) for result in order.results}
        yard.executions = order.seed % 2**31
        orders.send(_work(yard, random.Random(order.seed)))


def _work(yard: Yard, chance: random.Random) -> list[tuple[str, int]]:
    marked: list[tuple[str, int]] = []
    for _ in range(ROUNDS):
        try:
            waiting = yard.live()
            if waiting:
                yard.merge(chance.sample(waiting, chance.randint(1, min(3, len(waiting)))))
            if chance.random() < 0.7:
                rows = mark_published(yard.store, yard.ledger, LINES)
                marked += [(row.batch_id, row.generation) for row in rows]
        except EmbeddingAssetsError:
            continue
    return marked


def some_of(things: Sequence[Writer], chance: random.Random) -> Writer | None:
    """One that is alive, if any is."""
    alive = [one for one in things if one.is_alive]
    return chance.choice(alive) if alive else None
