"""The core from end to end, connected as in production: submitted, polled, merged, published, marked."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from embedding_assets.databases import LINES, WORDS, Database
from embedding_assets.executions.intermediate import IntermediateSnapshots
from embedding_assets.executions.plan import ExecutionManifest, Intermediate, PlannedBatch, split_chunks
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.openai_batches.survey import survey
from embedding_assets.services import Services, connect
from embedding_assets.submission.parts import EmbeddingModel, Limits
from embedding_assets.submission.submit import Submitter
from embedding_assets.versions.manifest import read_pointer
from embedding_assets.versions.mark import mark_published
from embedding_assets_tests.answers import line
from embedding_assets_tests.conftest import OpenAIServer
from embedding_assets_tests.deltas import MODEL
from embedding_assets_tests.fresh_python import run_python, without
from embedding_assets_tests.reference import Expected, reference_digest

EXECUTION = "20260102T120000Z-0123abcd"
WAIT_SECONDS = 20


def submitted(services: Services, database: Database, count: int) -> list[BatchSummary]:
    """Batches of three records each, when OpenAI has finished them."""
    records = [
        {"id": f"r{n}", "text": f"{database.name} {n}", "document": f"document {n}", "metadata": {"n": n}}
        for n in range(count)
    ]
    path = Path(f"{database.name}.jsonl")
    path.write_text("".join(map(line, records)))
    submitter = Submitter(services.sender(database, lambda text: None), EmbeddingModel(MODEL, 16))
    assert submitter.submit([path], limits=Limits(requests=3)).requests == count
    live = list(services.ledger.live(database).ready_to_plan)
    deadline = time.monotonic() + WAIT_SECONDS
    while len(survey(services.openai, live, concurrency=4).ready) < len(live):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return live


def execute(services: Services, database: Database, live: list[BatchSummary]) -> list[PollResult]:
    """What a run of the execution does, without Dagster."""
    manifest = ExecutionManifest(
        execution_id=EXECUTION,
        database=database.name,
        created_at="2026-01-02T12:00:00Z",
        total_batches=len(live),
        batches=tuple(
            PlannedBatch(index=index, batch_id=row.batch_id, openai_batch_id=row.openai_batch_id)
            for index, row in enumerate(live)
        ),
    )
    results = services.execution_poller(database).poll(manifest, lambda row, result: None)
    merger = services.intermediate_merger(database)
    merged = [merger.merge_chunk(chunk) for chunk in split_chunks(EXECUTION, results, 2)]
    snapshots = IntermediateSnapshots(
        execution_id=EXECUTION,
        intermediates=tuple(Intermediate(intermediate_key=one.intermediate_key) for one in merged),
        chunks=tuple(merged),
    )
    services.final_merger(database, lambda message: None).merge(results, snapshots)
    return results


@pytest.mark.parametrize(("database", "form"), [(LINES, "arrow"), (WORDS, "chroma")], ids=["lines", "words"])
def test_from_records_to_a_marked_version(
    services: Services, openai_server: OpenAIServer, database: Database, form: str
) -> None:
    """Every record published with the model's vector, every row final with its counts, in either format."""
    services = replace(services, settings=services.settings.model_copy(update={"intermediate_format": form}))
    live = submitted(services, database, 8)
    assert len(live) == 3
    results = execute(services, database, live)
    assert sum(result.embedding_count for result in results) == 8
    assert [row.batch_id for row in mark_published(services.store, services.ledger, database)] == [
        row.batch_id for row in live
    ]
    rows = services.ledger.get_many(row.batch_id for row in live)
    assert {row.status for row in rows.values()} == {Status.COMPLETED}
    assert sum(row.embedded_count or 0 for row in rows.values()) == 8
    pointer = read_pointer(services.store, database)
    assert pointer is not None
    assert {row.snapshot_version for row in rows.values()} == {pointer.manifest.version}
    vectors = services.openai.embed([f"{database.name} {n}" for n in range(8)], MODEL, 16)
    wanted = [Expected(f"r{n}", tuple(vectors[n]), f"document {n}", {"n": n}) for n in range(8)]
    assert pointer.manifest.content_digest == reference_digest(wanted)


def test_the_environment_is_enough(services: Services) -> None:
    """`connect` reads it; the same bucket and table."""
    connected = connect()
    assert (connected.store.bucket, connected.ledger.table) == (services.store.bucket, services.ledger.table)


def test_reading_the_table_waits_for_no_other_package(tmp_path: Path) -> None:
    """`status` starts without loading Dagster, chromadb and OpenAI's SDK, which take a second and a half."""
    heavy = ("dagster", "chromadb", "openai", "pyarrow.compute")
    done = run_python(without(heavy) + "import embedding_assets.cli.main, embedding_assets.cli.status", tmp_path)
    assert done.returncode == 0, done.stderr


def test_equal_settings_share_their_clients(monkeypatch: pytest.MonkeyPatch, services: Services) -> None:
    """Until the environment that boto3 and OpenAI's SDK read is another."""
    first = connect(services.settings)
    assert connect(services.settings) is first
    monkeypatch.setenv("OPENAI_API_KEY", "another-key-than-before")
    assert connect(services.settings) is not first
