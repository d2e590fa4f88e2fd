"""The bound on downloads that wait to be parsed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from embedding_assets.bucket.store import Store
from embedding_assets.databases import LINES
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.openai_batches.disk_budget import UNKNOWN_BYTES, WITH_DELTA, DiskBudget
from embedding_assets.openai_batches.poll import Poller
from embedding_assets_tests.answers import input_lines, output_line
from embedding_assets_tests.conftest import OpenAIServer
from embedding_assets_tests.deltas import NOON, vector

CONTENT = "GET /v1/files/{id}/content"


def test_what_is_reserved_is_given_back() -> None:
    """Also after an error; records and delta are counted with the files."""
    budget = DiskBudget(1000)
    seen: list[int] = []

    def fails() -> None:
        with budget.share() as share:
            share.reserve(100)
            share.reserve(200)
            seen.append(budget.used)
            raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        fails()
    assert seen == [450]
    assert budget.used == 0


def test_a_batch_alone_may_be_of_any_size() -> None:
    """Else it would wait for ever; nor does one wait for its own second file."""
    budget = DiskBudget(10)
    with budget.share() as share:
        share.reserve(None)
        share.reserve(1_000_000)
        assert budget.used == int(UNKNOWN_BYTES * WITH_DELTA) + 1_500_000


def test_who_does_not_fit_waits_until_there_is_room() -> None:
    """Twelve of 100 bytes, room for three: never more than that at once, and all come through."""
    budget = DiskBudget(int(3 * 100 * WITH_DELTA))
    seen: list[int] = []
    together = threading.Barrier(3)

    def work(_: int) -> None:
        with budget.share() as share:
            share.reserve(100)
            seen.append(budget.used)
            together.wait(30)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, range(12)))
    assert len(seen) == 12
    assert max(seen) <= int(3 * 100 * WITH_DELTA)


@pytest.mark.parametrize(("room", "at_once"), [(1, 1), (10**9, 6)])
def test_a_poller_downloads_no_more_than_there_is_room_for(
    store: Store, openai: OpenAIBatches, openai_server: OpenAIServer, room: int, at_once: int
) -> None:
    """Six batches polled at once: with room for none they are downloaded one after the other."""
    openai_server.fault(CONTENT, times=None, delay_seconds=0.2)
    rows = []
    for number in range(6):
        openai_server.plant(
            f"openai-b{number}",
            input=input_lines([f"r{number}"]),
            output=output_line(f"r{number}", vector(number)),
        )
        rows.append(
            BatchSummary(
                batch_id=f"b{number}",
                openai_batch_id=f"openai-b{number}",
                batch_type="LINE_EMBEDDING",
                status=Status.PENDING,
                submitted_at=NOON,
            )
        )
    poller = Poller(store, openai, LINES, "arrow", disk_bytes=room)
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(poller.poll, rows))
    assert [result.embedding_count for result in results] == [1] * 6
    counters = openai_server.control.get("/_control/counters").json()
    assert counters[CONTENT]["max_in_flight"] == at_once
