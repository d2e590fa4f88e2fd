"""An ingest with a batch for most of what can happen, restored before each case, and what must hold after it."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from embedding_assets.bucket.keys import latest_prefix, pointer_key, versions_prefix
from embedding_assets.calls.adaptive_limit import AdaptiveLimit
from embedding_assets.dagster_defs.runs.ingest import IngestReport, ingest
from embedding_assets.databases import LINES
from embedding_assets.errors import EmbeddingAssetsError, TransientError
from embedding_assets.ledger.batch_summary import Status
from embedding_assets.rows.record_index import alive, read_index
from embedding_assets.rows.snapshot_directory import matches
from embedding_assets.upkeep.inspection import manifest_problems, problems_of
from embedding_assets.versions.manifest import INDEX_FILE, VersionManifest, chain, read_pointer
from embedding_assets_tests.dagster_defs.runs.world import World, error_line, texts
from embedding_assets_tests.deltas import at, record, vector
from embedding_assets_tests.faults.call_sites import CallSite
from embedding_assets_tests.faults.process import Planned, Process, current, run_as
from embedding_assets_tests.faults.said import Said
from embedding_assets_tests.reference import Expected, reference_digest

LEASE_SECONDS = 1.0
ENVIRONMENT = {
    "EMBEDDING_ASSETS_LOCK_LEASE_SECONDS": str(LEASE_SECONDS),
    "EMBEDDING_ASSETS_CHUNK_SIZE": "2",
    "EMBEDDING_ASSETS_GROUP_SIZE": "2",
    "EMBEDDING_ASSETS_GROUP_THRESHOLD": "1",
    "EMBEDDING_ASSETS_CHUNK_CONCURRENCY": "1",
    "EMBEDDING_ASSETS_GROUP_CONCURRENCY": "1",
    "EMBEDDING_ASSETS_POLL_CONCURRENCY": "1",
    "EMBEDDING_ASSETS_GC_MIN_AGE_SECONDS": "0",
    "EMBEDDING_ASSETS_SNAPSHOT_RETENTION": "1",
}
"""A short lease, and groups already for four batches. One poll and one merge at a time:
then every run calls in one order."""


RUNS = 4
"""Runs after which everything must be drained, whatever the one fault was."""

BEFORE = texts("u", 4)
NEW = [record("n0", 10, "first", {"page": 1}), record("n1", 11, "second", {"page": 2, "total": True})]
ODD = texts("o", 3, 20)
UPDATED = [Expected("u0", vector(77), "u0 again", None), *texts("v", 1, 30)]
PARTIAL = texts("p", 3, 40)
GONE = ("u3", "never there")
EXPECTED = {one.id: one for one in [*BEFORE[:3], *NEW, *ODD[:2], *UPDATED, *PARTIAL[:1]]}

OURS_TO_FORGET = ("completed_at", "execution_id", "snapshot_version", "ingest_attempts", "error")
"""Attributes of a row that may differ from run to run."""


class NotDrained(AssertionError):
    """Runs ended, and something was left to do."""


@dataclass
class Scene:
    """The bucket and the table, how they were at the beginning, and what was seen since.

    This one is about an ingest; others say otherwise what they begin with, do, and end with.
    """

    world: World
    objects: dict[str, bytes] = field(default_factory=dict)
    items: list[dict[str, Any]] = field(default_factory=list)
    pointers: list[int] = field(default_factory=list)
    finished: Counter[tuple[str, int]] = field(default_factory=Counter)
    torn: list[str] = field(default_factory=list)
    said: Said = field(default_factory=Said)
    said_then: Said = field(default_factory=Said)

    @property
    def shared(self) -> Path:
        """The shared file system root."""
        return self.world.home / "shared"

    @property
    def _shared_then(self) -> Path:
        return self.world.home / "shared-then"

    def prepare(self) -> None:
        """Make the beginning, and remember it."""
        self.begin()
        self.remember()

    def begin(self) -> None:
        """One version is published; six batches wait, of which five are ready, and one of deletions."""
        world = self.world
        world.plant("before", BEFORE)
        assert self.ingest(world.instance).failures == []
        world.plant("new", NEW, kept=True)
        world.plant("odd", ODD, answered=ODD[:2], errors=error_line(ODD[2]))
        world.plant("update", UPDATED, row={"submitted_at": at(5).isoformat()})
        world.plant("partial", PARTIAL, status="expired", answered=PARTIAL[:1])
        world.plant("expired", texts("x", 2), status="expired", answered=[])
        world.plant("going", texts("g", 2), status="in_progress")
        world.delete("gone", GONE)

    def remember(self) -> None:
        """The bucket and the table as they are now are the beginning."""
        world = self.world
        self.said_then = self.said.copy()
        shutil.copytree(self.shared, self._shared_then, symlinks=True)
        self.objects = {key: world.services.store.get(key) for key in world.objects()}
        pages = world.dynamodb.get_paginator("scan").paginate(TableName=world.table, ConsistentRead=True)
        self.items = [item for page in pages for item in page["Items"]]

    def restore(self) -> None:
        """As it was after `prepare`."""
        world = self.world
        shutil.rmtree(self.shared)
        shutil.copytree(self._shared_then, self.shared, symlinks=True)
        world.services.store.delete(world.objects().keys() - self.objects.keys())
        for key, data in self.objects.items():
            world.services.store.put(key, data)
        wanted = {(item["PK"]["S"], item["SK"]["S"]) for item in self.items}
        pages = world.dynamodb.get_paginator("scan").paginate(TableName=world.table, ConsistentRead=True)
        for page in pages:
            for item in page["Items"]:
                if (item["PK"]["S"], item["SK"]["S"]) not in wanted:
                    world.dynamodb.delete_item(TableName=world.table, Key={"PK": item["PK"], "SK": item["SK"]})
        for item in self.items:
            world.dynamodb.put_item(TableName=world.table, Item=item)
        self.pointers.clear()
        self.finished.clear()
        self.torn.clear()
        self.said = self.said_then.copy()

    def ingest(self, instance: dg.DagsterInstance | None = None) -> IngestReport:
        """What `embedding-assets ingest` does, on a Dagster instance of its own."""
        if instance is None:
            with dg.DagsterInstance.ephemeral() as fresh:
                return self.ingest(fresh)
        with self.said.during(instance) as said:
            report = ingest(self.world.services, instance, [LINES], until_drained=True, progress=lambda line: None)
            said.hear(report)
            return report

    def act(self) -> bool:
        """Do what the scene is about; true if nothing was left to do.

        What could not be laid on the shared root is told, and laid by the next run.
        """
        report = self.ingest()
        if report.failures:
            raise TransientError("; ".join(report.failures))
        return not report.executions and self._shown() == self.world.published().version

    def _shown(self) -> str:
        """The version that the shared root shows."""
        return (self.shared / latest_prefix(LINES).rstrip("/")).resolve().name

    def drain(self, first: Process | None = None) -> set[CallSite]:
        """Other processes, of which `first` may fail, run until nothing is ready and nothing failed.

        Returns the call sites that they went through. NotDrained after several runs.
        """
        seen: set[CallSite] = set()
        problems: list[str] = []
        for number in range(RUNS):
            process = first if first is not None and number == 0 else Process()
            try:
                settled = run_as(process, self.act)
            except EmbeddingAssetsError as error:
                settled = False
                problems.append(str(error))
            seen |= process.seen.keys()
            if settled:
                return seen
        raise NotDrained(f"not drained after {RUNS} runs: {problems}")

    def seen(self, operation: str, parameters: dict[str, Any]) -> None:
        """Each pointer that is written is whole by then; each final status is counted."""
        if operation == "PutObject" and parameters.get("Key") == pointer_key(LINES):
            self._look_at_the_pointer()
        if operation == "UpdateItem":
            values = parameters["ExpressionAttributeValues"]
            if values.get(":set_status", {}).get("S") in {str(status) for status in Status if not status.live}:
                self.finished[(parameters["Key"]["PK"]["S"], int(values[":generation"]["N"]))] += 1

    def _look_at_the_pointer(self) -> None:
        store = self.world.services.store
        pointer = run_untapped(lambda: read_pointer(store, LINES))
        assert pointer is not None
        self.pointers.append(pointer.epoch)
        there = run_untapped(lambda: {entry.key: entry.size for entry in store.list(versions_prefix(LINES))})
        self.torn += [file.key for file in pointer.manifest.files if there.get(file.key) != file.size]

    def check(self, planned: Planned | None = None) -> None:
        """All invariants of the publication protocol, and the content of an undisturbed run.

        `planned` is the fault that struck first, where one did.
        """
        store = self.world.services.store
        published = self.world.published()
        versions = list(chain(store, LINES, published))
        expected = self.expected()
        with tempfile.TemporaryDirectory() as folder:
            wrong = problems_of(store, published, Path(folder), everything=True)
            ids = alive(read_index(Path(folder) / INDEX_FILE)).column("id").to_pylist()
        assert wrong == []
        assert ids == sorted(expected), [version.version for version in versions]
        assert published.content_digest == reference_digest(expected.values())
        assert manifest_problems(store, LINES, published) == []
        assert self.torn == []
        latest = self.shared / latest_prefix(LINES).rstrip("/")
        assert self._shown() == published.version, "the shared root shows another version"
        assert [file.path for file in published.files if not matches(latest / file.path, file)] == []
        assert self.pointers == sorted(self.pointers), "the pointer's epoch fell"
        epochs = [version.epoch for version in versions]
        assert epochs == sorted(set(epochs), reverse=True)
        twice = {batch: times for batch, times in self.finished.items() if times > 1}
        assert not twice, "marked more than once"
        rows = self.rows()
        assert rows == self.expected_rows()
        self.said.check(self.world, {name: row["status"] for name, row in rows.items()})
        _check_completed_are_published(self.world, versions)

    def expected(self) -> dict[str, Expected]:
        """What is published in the end."""
        return EXPECTED

    def expected_rows(self) -> dict[str, dict[str, Any]]:
        """How the rows are in the end."""
        return ROWS

    def rows(self) -> dict[str, dict[str, Any]]:
        """The rows of the batches, without what may differ from run to run."""
        return {
            row["batch_id"]: {
                name: value
                for name, value in row.items()
                if name in ("status", "GSI1PK", "embedded_count", "failed_count", "unfinished_count", "set_aside")
            }
            for row in self.world.rows().values()
            if "batch_id" in row
        }


def completed(embedded: int) -> dict[str, Any]:
    """The row of a batch of which everything was embedded."""
    return _row("COMPLETED", embedded, 0, 0)


def _row(status: str, *counts: int) -> dict[str, Any]:
    names = ("embedded_count", "failed_count", "unfinished_count")
    return {"status": status, "GSI1PK": f"STATUS#{status}", **dict(zip(names, counts, strict=False))}


ROWS = {
    "before": _row("COMPLETED", 4, 0, 0),
    "new": _row("COMPLETED", 2, 0, 0),
    "odd": _row("COMPLETED", 2, 1, 0),
    "update": _row("COMPLETED", 2, 0, 0),
    "partial": _row("EXPIRED", 1, 0, 2),
    "expired": _row("EXPIRED", 0, 0, 2),
    "going": _row("PENDING"),
    "gone": completed(0),
}


def _check_completed_are_published(world: World, versions: list[VersionManifest]) -> None:
    accounted = {batch.batch_id: (version, batch) for version in reversed(versions) for batch in version.batches}
    for row in world.rows().values():
        if row.get("status") == "COMPLETED" or row.get("embedded_count"):
            version, batch = accounted[row["batch_id"]]
            assert (batch.embedded, batch.failed) == (row["embedded_count"], row["failed_count"])
            assert any(row["snapshot_version"] == one.version for one in versions), version


def run_untapped(work: Callable[[], Any]) -> Any:
    """Do something as the test itself, from within a call of a simulated process."""
    process = current()
    if process is None:
        return work()
    return run_as_test(work)


def run_as_test(work: Callable[[], Any]) -> Any:
    """In a thread that belongs to no process that can fail."""
    return run_as(Process(), work)


@contextmanager
def fast_clients(world: World) -> Iterator[None]:
    """Clients are made once for all cases, settings read once: that takes longer than what is done with them here.

    Nor does anyone wait long for a process that is paused while it is alone in a folder, or follow a run.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("embedding_assets.processes.file_lock.WAIT_SECONDS", LEASE_SECONDS / 4)
        patch.setattr("embedding_assets.bucket.store.s3_client", lambda retries=True: _s3(world, retries))
        for module in ("ledger", "row_table"):
            patch.setattr(f"embedding_assets.ledger.{module}.dynamodb_client", lambda **options: world.dynamodb)
        patch.setattr("embedding_assets.dagster_defs.runs.follow.INTERVAL_SECONDS", 3600.0)
        # One client serves all simulated processes: a paused one must not keep the others from calling.
        patch.setattr("embedding_assets.services.AdaptiveLimit", lambda most: AdaptiveLimit(50))
        patch.setattr("embedding_assets.services.load_settings", lambda: world.services.settings)
        yield


def _s3(world: World, retries: bool) -> Any:
    store = world.services.store
    return store._client if retries else store._single_try
