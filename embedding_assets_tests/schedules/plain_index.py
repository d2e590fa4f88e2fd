"""In place of Chroma where thousands of versions are built: the records as JSON lines, verified as strictly."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from embedding_assets.chroma.collection import ChromaRows, Space
from embedding_assets.errors import DamagedError, UnsuitableError
from embedding_assets.rows.arrow import delta_batch
from embedding_assets.rows.record import metadata_json, record_hash
from embedding_assets.rows.record_index import alive
from embedding_assets.versions.manifest import VersionManifest

FILE = "chroma.sqlite3"


class PlainWriter:
    """The interface of ChromaWriter."""

    def __init__(
        self, directory: Path, collection: str, space: Space, operations: int, dimensions: int | None = None
    ) -> None:
        self._path = directory / FILE
        self._records = read(directory) if self._path.exists() else {}

    def __enter__(self) -> PlainWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            lines = (json.dumps([record_id, *rest]) for record_id, rest in sorted(self._records.items()))
            self._path.write_text("\n".join(lines))

    def delete(self, ids: Sequence[str]) -> None:
        """Remove rows."""
        for record_id in ids:
            self._records.pop(record_id, None)

    def add(self, rows: ChromaRows) -> None:
        """Write rows."""
        for record_id, vector, document, metadata in zip(
            rows.ids, rows.vectors, rows.documents, rows.metadata, strict=True
        ):
            self._records[record_id] = [[float(number) for number in vector], document, metadata]

    replace = add

    def amend(self, ids: Sequence[str], metadata: Sequence[dict[str, Any]]) -> None:
        """Change the metadata alone; a None takes a key away."""
        for record_id, changed in zip(ids, metadata, strict=True):
            record = self._records[record_id]
            kept = {key: value for key, value in {**(record[2] or {}), **changed}.items() if value is not None}
            record[2] = kept or None


def read(directory: Path) -> dict[str, list[Any]]:
    """Every record: vector, document, metadata."""
    lines = (directory / FILE).read_text().splitlines()
    return {record_id: rest for record_id, *rest in map(json.loads, lines)}


def find_problems(
    directory: Path, collection: str, index: pa.Table, changed: Collection[str] | None
) -> Iterator[str]:
    """As of a Chroma directory: every record, always."""
    expected = dict(zip(*(alive(index).column(name).to_pylist() for name in ("id", "hash")), strict=True))
    found = {
        record_id: record_hash(
            record_id, np.array(vector, dtype="<f4").tobytes(), document, metadata_json(metadata)
        )
        for record_id, (vector, document, metadata) in read(directory).items()
    }
    if found != expected:
        yield f"{len(found)} records, {len(expected)} expected, or with other content"


def verify(
    directory: Path, collection: str, index: pa.Table, changed: Collection[str] | None, probe: object = None
) -> None:
    """As of a Chroma directory."""
    for problem in find_problems(directory, collection, index, changed):
        raise DamagedError(problem)


def chosen_published_rows(
    directory: Path, manifest: VersionManifest, index: pa.Table, ids: Iterable[str]
) -> Iterator[pa.RecordBatch]:
    """As of a Chroma directory; provenance is left out."""
    verify(directory, manifest.collection, index, None)
    records = read(directory)
    for one in ids:
        vector, document, metadata = records[one]
        vectors = np.array([vector], dtype=np.float32)
        yield delta_batch([one], vectors, [document], [metadata_json(metadata)], [None])


def _left_to_chroma() -> None:
    raise UnsuitableError("plain files stand for Chroma's")


def instead_of_chroma(patch: pytest.MonkeyPatch) -> None:
    """Build and verify plain versions from now on."""
    patch.setattr("embedding_assets.executions.write_index.ChromaWriter", PlainWriter)
    patch.setattr("embedding_assets.executions.write_index.refuse_unfit", _left_to_chroma)
    patch.setattr("embedding_assets.executions.write_index.verify", verify)
    patch.setattr("embedding_assets.upkeep.inspection.find_problems", find_problems)
    patch.setattr("embedding_assets.versions.published_rows.chosen_published_rows", chosen_published_rows)
