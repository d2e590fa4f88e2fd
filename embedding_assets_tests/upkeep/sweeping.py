"""Sweeping and rolling back in tests: a gc by its settings, a bucket that calls out, versions checked whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from pathlib import Path

from embedding_assets.bucket.keys import manifest_key
from embedding_assets.bucket.store import Store
from embedding_assets.databases import LINES
from embedding_assets.upkeep.gc import Collector, Garbage
from embedding_assets.upkeep.inspection import problems_of
from embedding_assets.upkeep.rollback import Rollback
from embedding_assets.versions.manifest import VersionManifest, chain
from embedding_assets_tests.executions.conftest import LEASE_SECONDS, Workbench, execution


class Killed(Exception):
    """Whoever does this is no more."""


class Hooked(Store):
    """The same bucket; each deletion and each conditional write first calls its hook."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.bucket, store._client, store._single_try)
        self.deletions = 0
        self.on_delete: Callable[[int], None] = lambda number: None
        self.on_replace: Callable[[], None] = lambda: None

    def delete(self, keys: Iterable[str]) -> None:
        self.on_delete(self.deletions)
        self.deletions += 1
        super().delete(keys)

    def replace(self, key: str, data: bytes, etag: str) -> None:
        self.on_replace()
        super().replace(key, data, etag)


def collect(
    bench: Workbench,
    retention: int = 1,
    *,
    hours: float = 0,
    dry_run: bool = False,
    store: Store | None = None,
    lease: float = LEASE_SECONDS,
) -> Garbage:
    """A gc of `lines`."""
    age = timedelta(hours=hours)
    collector = Collector(bench.publisher(store, lease), retention, age)
    return collector.collect(execution(98), dry_run=dry_run)


def rollback(bench: Workbench, to: str | None) -> VersionManifest:
    """A rollback of `lines`."""
    return Rollback(bench.publisher()).to(to, execution(99))


def plan(bench: Workbench, number: int, *batch_ids: str, database: str = "lines") -> None:
    """The manifest of an execution."""
    batches = [
        {"index": index, "batch_id": batch_id, "openai_batch_id": f"openai-{batch_id}"}
        for index, batch_id in enumerate(batch_ids)
    ]
    manifest = {
        "execution_id": execution(number),
        "database": database,
        "created_at": "2026-01-02T12:00:00Z",
        "total_batches": len(batches),
        "batches": batches,
    }
    bench.store.put(manifest_key(execution(number)), json.dumps(manifest).encode())


def all_versions(bench: Workbench) -> list[VersionManifest]:
    """The chain, newest first."""
    return list(chain(bench.store, LINES, bench.pointer().manifest))


def keys_of(garbage: Garbage) -> set[str]:
    """Everything that a gc deletes, or would."""
    return {entry.key for swept in garbage.all for entry in swept.objects}


def check_whole(bench: Workbench, folder: Path, versions: Sequence[str]) -> None:
    """Every file and every record of these versions is as published."""
    for manifest in all_versions(bench):
        if manifest.version in versions:
            directory = folder / manifest.version
            directory.mkdir(parents=True)
            assert problems_of(bench.store, manifest, directory, everything=True) == []
