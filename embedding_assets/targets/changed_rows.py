"""Records of a version as rows: from the deltas that brought them, which are small, else from its own files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from embedding_assets.bucket.store import Store
from embedding_assets.chroma.row_source import open_source
from embedding_assets.errors import DamagedError, NotFoundError
from embedding_assets.rows.arrow import Provenance
from embedding_assets.rows.snapshot_directory import download_snapshot
from embedding_assets.versions.base_cache import BaseCache
from embedding_assets.versions.manifest import VersionManifest
from embedding_assets.versions.reader import verified_rows


@dataclass(frozen=True)
class ChangedRows:
    """Rows of `version`. `deltas` has the key of the delta that each of some batches delivered."""

    store: Store
    version: VersionManifest
    deltas: Mapping[str, str]
    cache: BaseCache | None = None

    def of(self, wanted: pa.Table) -> Iterator[pa.RecordBatch]:
        """The rows of these records of the version's index, each with the hash that the index has.

        Raises DamagedVersionError if the version has to be read and is damaged.
        """
        found: set[str] = set()
        for batch_id in sorted(set(wanted.column("batch_id").to_pylist()) & self.deltas.keys()):
            theirs = wanted.filter(pc.equal(wanted.column("batch_id"), batch_id)).combine_chunks()
            for batch in self._of_delta(self.deltas[batch_id], theirs):
                found.update(batch.column("id").to_pylist())
                yield batch
        rest = [record_id for record_id in wanted.column("id").to_pylist() if record_id not in found]
        if rest:
            yield from verified_rows(self.store, self.version, rest, self.cache)

    def _of_delta(self, key: str, wanted: pa.Table) -> Iterator[pa.RecordBatch]:
        """The wanted records that a delta has with the very hash; none if the delta is gone or damaged."""
        row = wanted.slice(0, 1)
        batch_id, precedence_at = row.column("batch_id")[0].as_py(), row.column("precedence_at")[0].as_py()
        with tempfile.TemporaryDirectory(prefix="embedding-assets-target-") as name:
            folder = Path(name) / "delta"
            try:
                manifest = download_snapshot(self.store, key, folder)
                if manifest is None:
                    return
                source = open_source(folder, manifest.collection, Provenance(batch_id, precedence_at, 0))
            except (DamagedError, NotFoundError):
                return
            for batch in source.batches():
                chosen = pc.is_in(batch.column("hash"), wanted.column("hash").combine_chunks())
                if pc.any(chosen).as_py():
                    yield batch.filter(chosen)
