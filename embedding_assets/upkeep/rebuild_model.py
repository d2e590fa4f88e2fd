"""The published records embedded again by another model, or with other dimensions, and published when complete.

One step does what can be done now and says what is missing, so the same command is given until it has published:
texts that are not embedded by the new model yet are submitted, as batches that no execution plans; when each
published record has its new vector, a version with nothing but new vectors is published. What is published,
changed or deleted meanwhile is followed: it counts what is published at the last step.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from embedding_assets.bucket.keys import errors_key, records_key
from embedding_assets.chroma.row_source import RowSource, open_source
from embedding_assets.errors import DamagedError, InputError, MismatchError, ServiceError
from embedding_assets.executions.accounting import version_batch
from embedding_assets.executions.guard import same_model
from embedding_assets.executions.settle import settle_row
from embedding_assets.ledger.batch_summary import BatchSummary
from embedding_assets.openai_batches.absence import ANOTHER_PROJECT
from embedding_assets.openai_batches.poll import Poller
from embedding_assets.openai_batches.poll_result import PollResult, read_errors
from embedding_assets.openai_batches.requests import read_records
from embedding_assets.openai_batches.survey import survey
from embedding_assets.rows.arrow import Provenance, RowFile, RowWriter, row_schema
from embedding_assets.rows.record_index import COLUMNS, SCHEMA, alive, sort_index
from embedding_assets.rows.snapshot_directory import download_snapshot
from embedding_assets.submission.claims import DatabaseClaim
from embedding_assets.submission.parts import EmbeddingModel, Limits, Line, split
from embedding_assets.submission.record_file import Record
from embedding_assets.submission.sender import Sender
from embedding_assets.upkeep.rebuild_publish import Rebuild, RebuiltRecords
from embedding_assets.upkeep.rebuild_texts import StoredTexts
from embedding_assets.versions.manifest import Pointer, VersionManifest
from embedding_assets.versions.reader import published_index


@dataclass(frozen=True)
class RebuildProgress:
    """Where a rebuild is. `version` is None until it is published; `impossible` ids are beyond a retry's help."""

    total: int
    embedded: int
    submitted: int = 0
    running: int = 0
    impossible: tuple[str, ...] = ()
    version: str | None = None


@dataclass(frozen=True)
class _Polled:
    """One batch of the rebuild that OpenAI has finished: what it delivered, and which inputs its rows have."""

    result: PollResult
    source: RowSource
    inputs: dict[str, str | None] = field(repr=False)


@dataclass(frozen=True)
class ModelRebuild(Rebuild):
    """Rebuilds one database by the model that is wanted."""

    sender: Sender
    poller: Poller
    wanted: EmbeddingModel
    dry_run: bool = False

    @property
    def goal(self) -> str:
        """What stands in the rows of its batches."""
        return f"{self.wanted.model}/{self.wanted.dimensions or 'own'}"

    def step(self, purpose: str, limits: Limits | None = None) -> RebuildProgress:
        """Do what can be done now. Raises InputError if the published version is of that model already."""
        pointer = self._published()
        index = published_index(self.store, pointer.manifest)
        texts = StoredTexts(self.store, self.ledger, self.sender.openai)
        with tempfile.TemporaryDirectory(prefix="embedding-assets-rebuild-") as name:
            folder = Path(name)
            wanted = {record.id: record for record in texts.records(index)}
            lines = self._lines(list(wanted.values()), folder / "lines")
            rows = self._rebuilding()
            found = survey(self.sender.openai, rows, concurrency=8, absence=self.poller.absence, table=self.ledger)
            if found.another_project:
                raise ServiceError(ANOTHER_PROJECT)
            outcomes = [(row, self._poll(row, folder / row.batch_id)) for row in found.ready]
            polled = [one for _, one in outcomes if isinstance(one, _Polled)]
            waiting = [row for row, one in outcomes if isinstance(one, PollResult) and one.action == "wait"]
            fresh = self._chosen(polled, lines)
            going_on = (*found.running, *found.not_asked, *found.missing, *waiting)
            on_way = {one for row in going_on for one in self._on_way(row, lines)}
            impossible = self._impossible(found.ready) & lines.keys() - fresh.keys()
            missing = [wanted[one] for one in lines.keys() - fresh.keys() - on_way - impossible]
            progress = RebuildProgress(
                total=len(lines),
                embedded=len(fresh),
                submitted=len(missing),
                running=len(on_way),
                impossible=tuple(sorted(impossible)),
            )
            if missing and not self.dry_run:
                seen = {row.batch_id for row in rows}
                with self.sender.alone() as alone:
                    sent_since = self._sent_since(seen, lines)
                    left = [record for record in missing if record.id not in sent_since]
                    self._submit(alone, sorted(left, key=lambda record: record.id), folder / "parts", limits)
            if missing or on_way or impossible or self.dry_run:
                return progress
            manifest = self._publish(pointer, index, polled, fresh, folder / "rows.arrow", purpose)
        return RebuildProgress(len(lines), len(fresh), version=manifest.version)

    def _published(self) -> Pointer:
        pointer = self.publisher.trusted_pointer()
        if pointer is None:
            raise InputError(f"{self.database.name} has no published version to rebuild")
        published = pointer.manifest
        same_length = self.wanted.dimensions in (None, published.dimensions)
        if published.model is not None and same_model(published.model, self.wanted.model) and same_length:
            raise InputError(
                f"version {published.version} of {self.database.name} is of {published.model} with "
                f"{published.dimensions} dimensions already"
            )
        return pointer

    def _lines(self, records: Sequence[Record], folder: Path) -> dict[str, Line]:
        """The requests as they will be asked, by id."""
        parts = split(self.database, records, self.wanted, folder)
        return {line.id: line for part in parts for line in part.lines()}

    def _sent_since(self, seen: set[str], lines: dict[str, Line]) -> set[str]:
        """Ids that another rebuild sent since this one looked."""
        rows = self._rebuilding()
        return {one for row in rows if row.batch_id not in seen for one in self._on_way(row, lines)}

    def _rebuilding(self) -> list[BatchSummary]:
        """The live batches of this rebuild."""
        return [row for row in self.ledger.live(self.database).set_aside if row.rebuild == self.goal]

    def _submit(
        self, alone: DatabaseClaim, missing: Sequence[Record], folder: Path, limits: Limits | None
    ) -> None:
        """Send what has no new vector yet, as batches that are kept from being planned."""
        parts = split(self.database, missing, self.wanted, folder, limits)
        fields = {
            "model": self.wanted.model,
            "dimensions": self.wanted.dimensions,
            "rebuild": self.goal,
            "set_aside": f"it belongs to the rebuild of {self.database.name} to {self.goal}: "
            "`snapshots rebuild` publishes it",
        }
        for number, part in enumerate(parts, start=1):
            self.sender.progress(f"batch {number} of {len(parts)} to the rebuild of {self.database.name}")
            for batch_id in part.batch_ids():
                if batch_id in self.ledger.get_many([batch_id]):
                    continue
                with self.sender.claim(alone, batch_id) as claim:
                    if batch_id in self.ledger.get_many([batch_id]) or self.sender.adopt(batch_id, fields):
                        break
                    counts = {"request_count": part.records, "token_count": part.tokens}
                    self.sender.send(claim, batch_id, part.lines(), self.wanted, {**fields, **counts})
                break

    def _poll(self, row: BatchSummary, folder: Path) -> _Polled | PollResult:
        """What a finished batch delivered; without embeddings the poll's result: it has ended, or is missing."""
        result = self.poller.poll(row)
        if not result.has_delta or result.delta_key is None:
            if not self.dry_run:
                settle_row(self.ledger, row, result)
            return result
        manifest = download_snapshot(self.store, result.delta_key, folder)
        if manifest is None:
            raise DamagedError(f"{result.delta_key}: the delta is unfinished")
        source = open_source(folder, manifest.collection, Provenance(row.batch_id, row.precedence, row.generation))
        inputs = {
            record_id: digest
            for batch in source.batches()
            for record_id, digest in zip(
                batch.column("id").to_pylist(), batch.column("input_sha256").to_pylist(), strict=True
            )
        }
        return _Polled(result, source, inputs)

    def _chosen(self, polled: Sequence[_Polled], lines: dict[str, Line]) -> dict[str, int]:
        """By id, which of the polled batches has the vector of its present text; the last one that has."""
        return {
            record_id: number
            for number, one in enumerate(polled)
            for record_id, digest in one.inputs.items()
            if record_id in lines and lines[record_id].input_sha256 == digest
        }

    def _on_way(self, row: BatchSummary, lines: dict[str, Line]) -> list[str]:
        key = records_key(row.batch_id)
        with tempfile.TemporaryDirectory(prefix="embedding-assets-rebuild-") as name:
            path = Path(name) / "records"
            self.store.download_file(key, path)
            requests = read_records(path, key).by_id
        return [
            one
            for one, request in requests.items()
            if one in lines and lines[one].input_sha256 == request.input_sha256
        ]

    def _impossible(self, rows: Sequence[BatchSummary]) -> set[str]:
        """Ids that a finished batch could not embed and that a retry cannot help."""
        found: set[str] = set()
        for row in rows:
            stored = self.store.find(errors_key(row.batch_id))
            errors = read_errors(stored.data) if stored else []
            found |= {error.id for error in errors if not error.retryable}
        return found

    def _publish(
        self,
        expected: Pointer,
        index: pa.Table,
        polled: Sequence[_Polled],
        chosen: dict[str, int],
        path: Path,
        purpose: str,
    ) -> VersionManifest:
        dimensions = {one.source.dimensions for one in polled}
        if len(dimensions) > 1:
            raise MismatchError(f"vectors of different lengths cannot be merged: {sorted(dimensions)}")
        with self.publisher.publication_lock(purpose) as held:
            pointer = held.pointer
            if pointer is None or pointer.manifest.version != expected.manifest.version:
                raise InputError(
                    f"another version of {self.database.name} was published meanwhile: give the command again"
                )
            sources = self._write_rows(index, polled, chosen, path)
            batches = tuple(version_batch(one.result) for one in polled)
            rebuilt = RebuiltRecords(sources, _index(index, sources), self.wanted.model, batches)
            return self.publish_rebuilt(rebuilt, pointer, purpose, held.lock)

    def _write_rows(
        self, index: pa.Table, polled: Sequence[_Polled], chosen: dict[str, int], path: Path
    ) -> list[RowSource]:
        """The chosen rows, each with the precedence that its record has: what was submitted later still wins."""
        if not polled:
            return []
        precedence = dict(zip(*(index.column(name).to_pylist() for name in ("id", "precedence_at")), strict=True))
        schema = row_schema(polled[0].source.dimensions)
        with RowWriter(path, schema) as writer:
            for number, one in enumerate(polled):
                for batch in one.source.batches():
                    ids = batch.column("id").to_pylist()
                    mine = batch.filter(pa.array([chosen.get(record_id) == number for record_id in ids]))
                    kept = [precedence[record_id] for record_id in mine.column("id").to_pylist()]
                    field_type = schema.field("precedence_at").type
                    columns = [
                        pa.array(kept, field_type) if name == "precedence_at" else mine.column(name)
                        for name in schema.names
                    ]
                    writer.write(pa.RecordBatch.from_arrays(columns, schema=schema))
        return [RowSource(RowFile(path), polled[0].source.dimensions, None)]


def _index(index: pa.Table, sources: Sequence[RowSource]) -> pa.Table:
    """The tombstones of the old index, and the new rows."""
    tombstones = index.filter(pc.is_null(index.column("hash")))
    fresh = [batch.select(COLUMNS) for source in sources for batch in source.batches()]
    rows = [pa.Table.from_batches([batch]).cast(SCHEMA) for batch in fresh]
    rebuilt = sort_index(pa.concat_tables([tombstones, *rows])).combine_chunks()
    if alive(rebuilt).column("id").to_pylist() != alive(index).column("id").to_pylist():
        raise DamagedError("the rebuilt records are not the published ones")
    return rebuilt
