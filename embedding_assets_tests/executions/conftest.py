"""An execution without polling: deltas of known records, merged and published by the product's own parts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from embedding_assets.bucket.keys import records_key
from embedding_assets.bucket.store import Store
from embedding_assets.chroma.collection import open_collection, read_rows
from embedding_assets.databases import LINES, Database
from embedding_assets.executions.final import FinalMerger
from embedding_assets.executions.intermediate import IntermediateMerger, IntermediateSnapshots
from embedding_assets.executions.plan import Intermediate, split_chunks, split_groups
from embedding_assets.executions.result import FinalMergeResult
from embedding_assets.executions.write_index import IndexPolicy, IndexWriter
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.rows.snapshot_directory import FileEntry, Format, download_verified
from embedding_assets.versions.manifest import Pointer, VersionManifest, read_pointer
from embedding_assets.versions.publisher import Publisher
from embedding_assets_tests.deltas import NOON, poll_result, put_delta
from embedding_assets_tests.reference import Expected

LEASE_SECONDS = 5.0


def execution(number: int) -> str:
    """An execution id."""
    return f"20260102T120000Z-{number:08x}"


@dataclass
class Workbench:
    """One database's executions, in a bucket and a table of the test's own."""

    store: Store
    ledger: Ledger
    folder: Path
    database: Database = LINES
    chunk_size: int = 10
    messages: list[str] = field(default_factory=list)
    writer: IndexWriter = "auto"

    def row(self, batch_id: str, submitted: datetime = NOON, **values: Any) -> BatchSummary:
        """A live row."""
        batch = BatchSummary(
            batch_id=batch_id,
            openai_batch_id=f"openai-{batch_id}",
            batch_type=self.database.batch_type,
            status=values.pop("status", Status.PENDING),
            submitted_at=submitted,
            **values,
        )
        self.ledger.create(batch)
        return batch

    def batch(
        self,
        batch_id: str,
        wanted: Sequence[Expected],
        submitted: datetime = NOON,
        form: Format = "arrow",
        **told: Any,
    ) -> PollResult:
        """A live row and its delta."""
        self.row(batch_id, submitted, generation=told.get("generation", 0))
        return put_delta(
            self.store, batch_id, wanted, form=form, precedence=submitted, database=self.database, **told
        )

    def batch_again(
        self, batch_id: str, wanted: Sequence[Expected], submitted: datetime = NOON, **told: Any
    ) -> PollResult:
        """The delta of a batch that has its row already."""
        return put_delta(self.store, batch_id, wanted, precedence=submitted, database=self.database, **told)

    def deletions(self, batch_id: str, ids: Sequence[str], submitted: datetime = NOON) -> PollResult:
        """A live row and its file of deletions."""
        self.row(batch_id, submitted)
        lines = [json.dumps({"id": record_id, "deleted": True}) for record_id in ids]
        self.store.put(records_key(batch_id), "\n".join(lines).encode())
        result = poll_result(batch_id, 0, None, precedence=submitted, database=self.database)
        return result.model_copy(update={"deletion_count": len(ids)})

    def forget(self, batch_id: str) -> None:
        """Take a row away."""
        self.ledger.client.delete_item(
            TableName=self.ledger.table, Key={"PK": {"S": f"BATCH#{batch_id}"}, "SK": {"S": "STATUS"}}
        )

    def attributes(self, batch_id: str) -> dict[str, Any]:
        """All attributes of a row, as plain values."""
        item = self.ledger.client.get_item(
            TableName=self.ledger.table,
            Key={"PK": {"S": f"BATCH#{batch_id}"}, "SK": {"S": "STATUS"}},
            ConsistentRead=True,
        )["Item"]
        return {name: TypeDeserializer().deserialize(value) for name, value in item.items()}

    def add_attributes(self, batch_id: str, **values: Any) -> None:
        """Another program writes attributes of its own."""
        self.ledger.client.update_item(
            TableName=self.ledger.table,
            Key={"PK": {"S": f"BATCH#{batch_id}"}, "SK": {"S": "STATUS"}},
            UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in values),
            ExpressionAttributeNames={f"#{name}": name for name in values},
            ExpressionAttributeValues={f":{name}": TypeSerializer().serialize(v) for name, v in values.items()},
        )

    def intermediates(
        self, results: Sequence[PollResult], number: int, form: Format = "arrow", group_size: int | None = None
    ) -> IntermediateSnapshots:
        """Chunks of the results, and groups where a group size is given."""
        merger = IntermediateMerger(self.store, self.database, form)
        chunks = split_chunks(execution(number), results, self.chunk_size)
        merged = [merger.merge_chunk(chunk) for chunk in chunks]
        parts = [Intermediate(intermediate_key=one.intermediate_key) for one in merged]
        groups = split_groups(parts, group_size, 0) if group_size else []
        grouped = [merger.merge_group(execution(number), index, group) for index, group in enumerate(groups)]
        return IntermediateSnapshots(
            execution_id=execution(number),
            intermediates=tuple(Intermediate(intermediate_key=one.intermediate_key) for one in grouped or merged),
            chunks=tuple(merged),
            groups=tuple(grouped),
        )

    def publisher(self, store: Store | None = None, lease: float = LEASE_SECONDS) -> Publisher:
        """What publishes versions; its messages are kept in `messages`."""
        return Publisher(store or self.store, self.ledger, self.database, lease, self.messages.append)

    def merger(self, store: Store | None = None) -> FinalMerger:
        """The final merge."""
        return FinalMerger(self.publisher(store), IndexPolicy(self.writer))

    def merge(
        self, results: Sequence[PollResult], number: int, form: Format = "arrow", group_size: int | None = None
    ) -> FinalMergeResult:
        """A whole execution."""
        return self.merger().merge(results, self.intermediates(results, number, form, group_size))

    def pointer(self) -> Pointer:
        """The pointer."""
        pointer = read_pointer(self.store, self.database)
        assert pointer is not None
        return pointer

    def published(self, manifest: VersionManifest | None = None) -> dict[str, Expected]:
        """Every record of a version, as a reader gets it: downloaded, checked, opened."""
        wanted = manifest or self.pointer().manifest
        directory = self.folder / "reader"
        shutil.rmtree(directory, ignore_errors=True)
        files = [
            (FileEntry(path=file.path, size=file.size, sha256=file.sha256), file.key) for file in wanted.files
        ]
        directory = directory / wanted.version
        download_verified(self.store, files, directory)
        with open_collection(directory, self.database.collection) as collection:
            assert collection.count() == wanted.total_embeddings
            return {
                record_id: Expected(record_id, tuple(map(float, vector)), document, metadata)
                for page in read_rows(collection)
                for record_id, vector, document, metadata in zip(
                    page.ids, page.vectors, page.documents, page.metadata, strict=True
                )
            }

    def keys(self, prefix: str = "") -> set[str]:
        """All keys under a prefix."""
        return {entry.key for entry in self.store.list(prefix)}


@pytest.fixture
def bench(store: Store, ledger: Ledger, tmp_path: Path) -> Workbench:
    """Executions of `lines`."""
    return Workbench(store, ledger, tmp_path)
