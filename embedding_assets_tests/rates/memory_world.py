"""An ingest without Dagster, in memory, in one thread and in virtual time: the same seed makes the same calls."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from embedding_assets.bucket.keys import records_key
from embedding_assets.bucket.store import Store
from embedding_assets.dagster_defs.runs.execution import ask_openai
from embedding_assets.databases import LINES
from embedding_assets.errors import EmbeddingAssetsError
from embedding_assets.executions.intermediate import IntermediateSnapshots, MergedIntermediate
from embedding_assets.executions.manifest import write_manifest
from embedding_assets.executions.plan import Intermediate, split_chunks, split_groups
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.services import Services
from embedding_assets.settings import Settings
from embedding_assets.versions.manifest import read_pointer
from embedding_assets.versions.mark import mark_published
from embedding_assets_tests.rates.backlog import Backlog
from embedding_assets_tests.rates.logged import Weather
from embedding_assets_tests.rates.memory_aws import StormyClient
from embedding_assets_tests.rates.memory_openai import MemoryOpenAI
from embedding_assets_tests.rates.one_thread import in_one_thread
from embedding_assets_tests.reference import reference_digest
from embedding_assets_tests.schedules.memory_dynamodb import MemoryDynamoDB
from embedding_assets_tests.schedules.memory_s3 import MemoryS3
from embedding_assets_tests.schedules.plain_index import instead_of_chroma
from embedding_assets_tests.schedules.virtual_time import VirtualTime

LEASE_SECONDS = 3600.0
"""The heartbeat is a thread of its own: in the real seconds that a test takes it never beats."""
TICKS = 3


class MemoryWorld:
    """The batches of `lines` in bad weather. `problems` are what ticks ended with."""

    def __init__(self, seed: int, rate: float, settings: Settings) -> None:
        self.backlog = Backlog().of(LINES)
        self.weather = Weather(seed, rate)
        self.problems: list[str] = []
        s3, dynamodb = MemoryS3(), MemoryDynamoDB()
        store, ledger = Store("memory", s3, s3), Ledger("memory", dynamodb)  # type: ignore[arg-type]
        for batch in self.backlog.batches:
            if batch.kept_records is not None:
                store.put(records_key(batch.batch_id), batch.kept_records)
            row = {"batch_id": batch.batch_id, "openai_batch_id": f"openai-{batch.batch_id}", **batch.row}
            ledger.create(BatchSummary(batch_type=LINES.batch_type, status=Status.PENDING, **row))
        many: list[object] = [
            StormyClient(s3, "s3", self.weather),
            StormyClient(dynamodb, "dynamodb", self.weather),
        ]
        once: object = StormyClient(s3, "s3", self.weather, tries=1)
        self.services = Services(settings)
        vars(self.services)["store"] = Store("memory", many[0], once)  # type: ignore[arg-type]
        vars(self.services)["ledger"] = Ledger("memory", many[1])  # type: ignore[arg-type]
        vars(self.services)["openai"] = OpenAIBatches(MemoryOpenAI(self.backlog, self.weather).client)

    def run(self) -> None:
        """Ticks in bad weather, then in good weather until nothing is left to do, at most three of each."""
        any(self._tick() for _ in range(TICKS))
        self.weather.clear_up()
        assert any(self._tick() for _ in range(TICKS)), f"not drained: {self.problems}"
        self._check()

    def _tick(self) -> bool:
        """Mark, plan, execute, mark; true if nothing failed and nothing is left to do."""
        try:
            while self._execution():
                pass
        except EmbeddingAssetsError as error:
            self.problems.append(f"{type(error).__name__}: {error}")
            return False
        return True

    def _execution(self) -> bool:
        services, store = self.services, self.services.store
        mark_published(store, services.ledger, LINES)
        ready = ask_openai(services, services.ledger.live(LINES)).ready
        if not ready:
            return False
        manifest = write_manifest(store, LINES, ready)
        results = services.execution_poller(LINES).poll(manifest, lambda row, result: None)
        merger = services.intermediate_merger(LINES)
        settings, name = services.settings, manifest.execution_id
        chunks = [merger.merge_chunk(chunk) for chunk in split_chunks(name, results, settings.chunk_size)]
        parts = split_groups(list(map(_named, chunks)), settings.group_size, settings.group_threshold)
        groups = [merger.merge_group(name, number, part) for number, part in enumerate(parts)]
        merged = IntermediateSnapshots(
            execution_id=name,
            intermediates=tuple(map(_named, groups or chunks)),
            chunks=tuple(chunks),
            groups=tuple(groups),
        )
        publishing = [result for result in results if result.publishes]
        services.final_merger(LINES, lambda line: None).merge(publishing, merged)
        mark_published(store, services.ledger, LINES)
        return True

    def _check(self) -> None:
        """Everything is published, has its final status, and nobody is blamed."""
        pointer = read_pointer(self.services.store, LINES)
        assert pointer is not None
        expected = self.backlog.published(LINES)
        assert pointer.manifest.content_digest == reference_digest(expected.values())
        rows = self.services.ledger.get_many(batch.batch_id for batch in self.backlog.batches)
        assert [row.batch_id for row in rows.values() if row.set_aside or row.ingest_attempts] == []
        found = {
            name: (str(row.status), row.embedded_count, row.failed_count, row.unfinished_count)
            for name, row in rows.items()
        }
        assert found == {batch.batch_id: batch.outcome for batch in self.backlog.batches}


def _named(merged: MergedIntermediate) -> Intermediate:
    return Intermediate(intermediate_key=merged.intermediate_key, digest=merged.digest)


@contextmanager
def deterministic() -> Iterator[Settings]:
    """While open, nothing depends on threads, on the clock, or on Chroma."""
    with pytest.MonkeyPatch.context() as patch:
        instead_of_chroma(patch)
        in_one_thread(patch)
        clock = VirtualTime()
        patch.setattr(time, "sleep", clock.sleep)
        clock.patch(patch)
        patch.setenv("CHROMADB_BUCKET", "memory")
        patch.setenv("DYNAMODB_TABLE_NAME", "memory")
        patch.setenv("EMBEDDING_ASSETS_LOCK_LEASE_SECONDS", str(LEASE_SECONDS))
        yield Settings()
