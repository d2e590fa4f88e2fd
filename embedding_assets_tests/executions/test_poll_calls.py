"""How often polling one batch calls S3, DynamoDB and OpenAI, written down: it is what polling costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from embedding_assets.databases import LINES
from embedding_assets.executions.plan import ExecutionManifest, PlannedBatch
from embedding_assets.executions.poll import ExecutionPoller
from embedding_assets.openai_batches.poll import Poller
from embedding_assets_tests.answers import input_lines, line, output_line
from embedding_assets_tests.conftest import OpenAIServer
from embedding_assets_tests.deltas import vector
from embedding_assets_tests.executions.conftest import Workbench, execution

BATCHES = 40


@pytest.fixture
def calls(bench: Workbench) -> Iterator[Counter[str]]:
    """Counts the operations of the clients of the bucket and the table."""
    counted: Counter[str] = Counter()

    def count(model: Any, **kwargs: Any) -> None:
        counted[model.name] += 1

    clients = [bench.store._client, bench.store._single_try, bench.ledger.client]
    for client in clients:
        client.meta.events.register("before-call", count)
    yield counted
    for client in clients:
        client.meta.events.unregister("before-call", count)


def test_calls_of_a_batch(
    bench: Workbench, poller: Poller, openai_server: OpenAIServer, calls: Counter[str]
) -> None:
    """Of one that is polled for the first time and has an answer to each request: one to OpenAI, five to S3."""
    names = [f"b{number}" for number in range(BATCHES)]
    for name in names:
        planned = {"input": input_lines([name]), "output": output_line(name, vector(0))}
        openai_server.plant(f"openai-{name}", **planned)
        bench.store.put(f"records/{name}.jsonl", line({"id": name, "document": name}).encode())
        bench.row(name, request_count=1)
    manifest = ExecutionManifest(
        execution_id=execution(1),
        database="lines",
        created_at="2026-01-02T12:00:00Z",
        total_batches=BATCHES,
        batches=tuple(
            PlannedBatch(index=index, batch_id=name, openai_batch_id=f"openai-{name}")
            for index, name in enumerate(names)
        ),
    )
    calls.clear()
    results = ExecutionPoller(bench.store, bench.ledger, poller, LINES, 8).poll(manifest, lambda row, result: None)
    assert [result.embedding_count for result in results] == [1] * BATCHES
    assert calls == {
        "GetObject": BATCHES + 1,  # its records; once for all the pointer
        "PutObject": 4 * BATCHES,  # its delta, the delta's manifest, its result, its row
        "BatchGetItem": 2,  # all rows, before and afterwards
    }
    asked = {route: openai_server.requests(route) for route in ("GET /v1/batches", "GET /v1/files/{id}/content")}
    assert asked == {"GET /v1/batches": 1, "GET /v1/files/{id}/content": BATCHES}
    assert openai_server.requests("GET /v1/batches/{id}") == 0
    assert openai_server.requests("GET /v1/files/{id}") == 0
