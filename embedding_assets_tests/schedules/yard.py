"""A bucket and a table in memory, several writers, and what must hold whatever they do and however they fail."""

from __future__ import annotations

import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from embedding_assets.bucket.keys import pointer_key
from embedding_assets.bucket.store import Store
from embedding_assets.databases import LINES
from embedding_assets.errors import EmbeddingAssetsError
from embedding_assets.executions.final import FinalMerger
from embedding_assets.executions.intermediate import IntermediateMerger, IntermediateSnapshots
from embedding_assets.executions.plan import Intermediate, split_chunks
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.upkeep.gc import Collector
from embedding_assets.upkeep.inspection import manifest_problems, problems_of
from embedding_assets.upkeep.repair import Repair, Repaired
from embedding_assets.upkeep.rollback import Rollback
from embedding_assets.versions.history import content_history
from embedding_assets.versions.manifest import Pointer, VersionManifest, chain, read_pointer
from embedding_assets.versions.mark import mark_published
from embedding_assets.versions.publisher import Publisher
from embedding_assets_tests.deltas import at, put_delta, record
from embedding_assets_tests.faults.call_sites import CallSite
from embedding_assets_tests.faults.process import Call, Process, current, run_as
from embedding_assets_tests.reference import Expected, reference_digest
from embedding_assets_tests.schedules.memory_dynamodb import MemoryDynamoDB
from embedding_assets_tests.schedules.memory_s3 import MemoryS3, Pages
from embedding_assets_tests.schedules.plain_index import instead_of_chroma
from embedding_assets_tests.schedules.virtual_time import VirtualTime

LEASE_SECONDS = 1.0
POINTER_WRITE = CallSite("memory", "put_object", pointer_key(LINES))


class Tapped:
    """A client in memory whose calls go as the calling process plans them."""

    def __init__(self, client: Any, seen: Callable[[str, dict[str, Any]], None]) -> None:
        self._client = client
        self._seen = seen

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**request: Any) -> Any:
            def do() -> Any:
                if hasattr(request.get("Body"), "seek"):
                    request["Body"].seek(0)
                answer = getattr(self._client, operation)(**request)
                self._seen(operation, request)
                return answer

            process = current()
            return (
                do()
                if process is None
                else process.call(Call(site_in_memory(operation, request), do, refuse, lose))
            )

        return call

    def get_paginator(self, operation: str) -> Pages:
        """As boto3's."""
        return Pages(self, operation)


def site_in_memory(operation: str, request: dict[str, Any]) -> CallSite:
    """A call here is told by its operation and key alone."""
    key = request.get("Key", "")
    return CallSite("memory", operation, key if isinstance(key, str) else f"{key['PK']['S']}/{key['SK']['S']}")


def refuse() -> Any:
    """The service says no."""
    raise ClientError({"Error": {"Code": "AccessDenied", "Message": "refused by the test"}}, "memory")


def lose() -> Any:
    """No answer came."""
    raise ReadTimeoutError(endpoint_url="http://memory")


@dataclass
class Yard:
    """What several writers share. `delivered` has each batch's records, by batch id and generation."""

    s3: MemoryS3 = field(default_factory=MemoryS3)
    dynamodb: MemoryDynamoDB = field(default_factory=MemoryDynamoDB)
    time: VirtualTime = field(default_factory=VirtualTime)
    polled: dict[tuple[str, int], tuple[PollResult, dict[str, Expected]]] = field(default_factory=dict)
    epochs: list[int] = field(default_factory=list)
    pointers: list[bytes] = field(default_factory=list)
    finished: Counter[tuple[str, int]] = field(default_factory=Counter)
    executions: int = 0
    forget_last_chunk: bool = False
    swap_intermediates: bool = False
    _replayed: dict[str, dict[str, tuple[Any, Expected]]] = field(default_factory=dict)
    _sound: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        client: Any = Tapped(self.s3, self._seen)
        table: Any = Tapped(self.dynamodb, self._seen)
        self.store = Store("memory", client, client)
        self.ledger = Ledger("memory", table)

    def patch(self, patch: pytest.MonkeyPatch) -> None:
        """Virtual time and plain versions from now on."""
        instead_of_chroma(patch)
        self.time.patch(patch)

    # What arrives

    def arrive(self, batch_id: str, seeds: dict[str, int], hours: int) -> None:
        """A batch was submitted, and OpenAI has finished it."""
        batch = BatchSummary(
            batch_id=batch_id,
            openai_batch_id=f"openai-{batch_id}",
            batch_type=LINES.batch_type,
            status=Status.PENDING,
            submitted_at=at(hours),
        )
        self.ledger.create(batch)
        self._poll(batch, seeds)

    def reprocess(self, batch_id: str) -> None:
        """A final batch is opened again and polled again, with the same content."""
        row = self.ledger.get(batch_id)
        if row.status.live:
            return
        _, records = self.polled[(batch_id, row.generation)]
        reopened = self.ledger.reopen(row)
        result = put_delta(self.store, batch_id, list(records.values()), precedence=row.precedence)
        again = result.model_copy(update={"generation": reopened.generation})
        self.polled[(batch_id, reopened.generation)] = (again, records)

    def _poll(self, batch: BatchSummary, seeds: dict[str, int]) -> None:
        records = {record_id: record(record_id, seed, f"text {seed}") for record_id, seed in seeds.items()}
        result = put_delta(self.store, batch.batch_id, list(records.values()), precedence=batch.submitted_at)
        self.polled[(batch.batch_id, 0)] = (result, records)

    # What writers do

    def live(self) -> list[BatchSummary]:
        """The batches that wait."""
        return list(self.ledger.live(LINES).ready_to_plan)

    def merge(self, batches: list[BatchSummary]) -> None:
        """An execution over these batches, as they were polled."""
        results = []
        for batch in batches:
            found = self.polled.get((batch.batch_id, batch.generation))
            if found is not None:
                results.append(found[0])
        with self._lock:
            self.executions += 1
            number = self.executions
        name = f"20260102T120000Z-{number:08x}"
        merger = IntermediateMerger(self.store, LINES, "arrow")
        merged = [merger.merge_chunk(chunk) for chunk in split_chunks(name, results, 2)]
        parts = tuple(Intermediate(intermediate_key=one.intermediate_key, digest=one.digest) for one in merged)
        if self.forget_last_chunk:
            parts, merged = parts[:-1], merged[:-1]
        if self.swap_intermediates:
            others = [one for one, _ in self.polled.values() if one not in results]
            for chunk in split_chunks(name, others, 2):
                merger.merge_chunk(chunk)
        snapshots = IntermediateSnapshots(execution_id=name, intermediates=parts, chunks=tuple(merged))
        FinalMerger(self.publisher).merge(results, snapshots)

    @property
    def publisher(self) -> Publisher:
        """What publishes versions of the yard's database."""
        return Publisher(self.store, self.ledger, LINES, LEASE_SECONDS)

    def mark(self) -> None:
        """A tick of the completion sensor."""
        mark_published(self.store, self.ledger, LINES)

    def rollback(self, steps: int) -> None:
        """Back by so many versions of the chain."""
        pointer = read_pointer(self.store, LINES)
        if pointer is None:
            return
        versions = list(chain(self.store, LINES, pointer.manifest))
        target = versions[min(steps, len(versions) - 1)]
        Rollback(self.publisher).to(target.version, "20260102T120000Z-rollback")

    def gc(self, retention: int, min_age: timedelta = timedelta(0)) -> None:
        """Everything that may go goes."""
        Collector(self.publisher, retention, min_age).collect("20260102T120000Z-collect0", dry_run=False)

    def lose_pointer(self, back: int | None = None) -> None:
        """Somebody deletes the pointer, or puts it back to so many object versions before."""
        if not self.pointers:
            return
        if back is None:
            self.s3.delete_objects(Bucket="memory", Delete={"Objects": [{"Key": pointer_key(LINES)}]})
        else:
            data = self.pointers[max(0, len(self.pointers) - 1 - back)]
            self.s3.put_object(Bucket="memory", Key=pointer_key(LINES), Body=data)

    def repair(self) -> Repaired:
        """The pointer is put back."""
        repair = Repair(self.publisher)
        return repair.run("20260102T120000Z-repaired", dry_run=False)

    def everything(self) -> None:
        """What another writer does while this one stands still."""
        self.quietly(lambda: self.merge(self.live()))
        self.quietly(self.mark)

    @staticmethod
    def quietly(work: Callable[[], object]) -> None:
        """Do something that may fail in one of our ways."""
        try:
            work()
        except EmbeddingAssetsError:
            return

    def run(self, process: Process, work: Callable[[], object]) -> None:
        """Do something as a process that may fail as it is planned."""
        self.quietly(lambda: run_as(process, work))

    # What must hold

    def _seen(self, operation: str, request: dict[str, Any]) -> None:
        if operation == "put_object" and request["Key"] == pointer_key(LINES):
            data = self.s3.get_object(Bucket="memory", Key=pointer_key(LINES))["Body"].read()
            manifest = VersionManifest.model_validate_json(data)
            self.epochs.append(Pointer(manifest, "").epoch)
            self.pointers.append(data)
            keys = {entry["Key"] for entry in self.s3.list_objects_v2(Bucket="", Prefix="lines/")["Contents"]}
            assert {file.key for file in manifest.files} <= keys, "published before its files were there"
        if operation == "update_item":
            values = request["ExpressionAttributeValues"]
            status = values.get(":set_status", {}).get("S")
            if status is not None and not Status(status).live:
                key = (request["Key"]["PK"]["S"], int(values[":generation"]["N"]))
                self.finished[key] += 1

    def check(self) -> None:
        """The invariants, at any moment."""
        assert self.epochs == sorted(self.epochs), "an epoch fell"
        assert all(times == 1 for times in self.finished.values()), "marked twice"
        pointer = read_pointer(self.store, LINES)
        if pointer is None:
            assert not self.finished
            return
        versions = list(chain(self.store, LINES, pointer.manifest))
        epochs = [version.epoch for version in versions]
        assert epochs == sorted(set(epochs), reverse=True)
        published = versions[0]
        content = {record_id: one for record_id, (_, one) in self._replay(versions, published).items()}
        assert published.content_digest == reference_digest(content.values())
        assert manifest_problems(self.store, LINES, published) == []
        if published.version not in self._sound:
            with tempfile.TemporaryDirectory() as folder:
                assert problems_of(self.store, published, Path(folder), everything=True) == []
            self._sound.add(published.version)
        self._check_rows(versions)

    def _check_rows(self, versions: list[VersionManifest]) -> None:
        """COMPLETED: published in the chain, and there unless it was withdrawn."""
        accounted = {(batch.batch_id, batch.generation) for version in versions for batch in version.batches}
        inside = {
            batch.batch_id for version in content_history(versions, versions[0]) for batch in version.batches
        }
        for batch_id, generation in self.polled:
            row = self.ledger.get(batch_id)
            if row.generation == generation and not row.status.live:
                assert (batch_id, generation) in accounted
                assert batch_id in inside or batch_id in versions[0].withdrawn

    def _replay(
        self, versions: list[VersionManifest], version: VersionManifest
    ) -> dict[str, tuple[Any, Expected]]:
        """What a version must hold, from what its history accounts for and what those batches delivered."""
        if version.version in self._replayed:
            return self._replayed[version.version]
        before = version.rolled_back_to or version.parent
        base = next((one for one in versions if one.version == before), None)
        content = dict(self._replay(versions, base)) if base is not None else {}
        for batch in version.batches:
            result, records = self.polled[(batch.batch_id, batch.generation)]
            rank = (result.precedence_at, batch.batch_id)
            for record_id, one in records.items():
                if record_id not in content or content[record_id][0] <= rank:
                    content[record_id] = (rank, one)
        self._replayed[version.version] = content
        return content

    def drain(self) -> None:
        """Undisturbed at last: everything that waits is published and marked."""
        self.mark()
        for _ in range(3):
            waiting = self.live()
            if not waiting:
                break
            self.merge(waiting)
            self.mark()
        assert self.live() == []
        self.quietly_repaired()
        self.check()
        self._check_nothing_lost()

    def quietly_repaired(self) -> None:
        """One more tick finds nothing to mark."""
        assert mark_published(self.store, self.ledger, LINES) == []

    def _check_nothing_lost(self) -> None:
        """Published ids = delivered ids, without those of withdrawn batches."""
        pointer = read_pointer(self.store, LINES)
        if pointer is None:
            assert not self.polled
            return
        out = set(pointer.manifest.withdrawn)
        wanted = {
            record_id
            for (batch_id, _), (_, records) in self.polled.items()
            if batch_id not in out
            for record_id in records
        }
        versions = list(chain(self.store, LINES, pointer.manifest))
        assert self._replay(versions, pointer.manifest).keys() == wanted
