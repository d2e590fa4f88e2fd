"""Building one version in a private folder: the base's files, the changes applied, verified, and listed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from embedding_assets.databases import Database
from embedding_assets.errors import DamagedError, DamagedVersionError
from embedding_assets.merge.changes import Changes
from embedding_assets.merge.exclusive import Tell
from embedding_assets.merge.fold import Mask, same_dimensions
from embedding_assets.snapshots.chroma import ChromaWriter
from embedding_assets.snapshots.directory import list_files
from embedding_assets.snapshots.gather import gather
from embedding_assets.snapshots.index import empty_index, read_index, write_index
from embedding_assets.snapshots.sources import RowSource, chroma_rows
from embedding_assets.snapshots.store import Store
from embedding_assets.snapshots.verify import verify
from embedding_assets.snapshots.versions import INDEX_FILE, VersionFile, VersionManifest, version_prefix


@dataclass(frozen=True)
class BuiltVersion:
    """A version that is built, verified and not yet uploaded.

    `files` names every file under the bucket key where it will lie: an older version's key where it is
    unchanged. `uploads` are those that are not in the bucket yet. `directory` holds what was built.
    """

    files: tuple[VersionFile, ...]
    uploads: tuple[tuple[Path, str], ...]
    dimensions: int | None
    directory: Path

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class VersionBuilder:
    """Builds on `base` (None: anew) below `folder`, which must be private and empty of its names.

    `laid` is where the base lies on a shared file system: its files are copied from there where they are right.
    """

    store: Store
    database: Database
    base: VersionManifest | None
    folder: Path
    laid: Path | None = None
    tell: Tell = lambda message: None

    def base_index(self) -> pa.Table:
        """The record index of the base; an empty one without a base."""
        if self.base is None:
            return empty_index()
        directory = self.folder / "base_index"
        self._download(directory, only_index=True)
        return read_index(directory / INDEX_FILE)

    def build(
        self, version: str, sources: Sequence[RowSource], changes: Changes, check: Callable[[], None]
    ) -> BuiltVersion:
        """Apply `changes` to the base; `check` is called often and raises where the work became pointless.

        Where no record changed, Chroma is not opened and the base's files are named. Raises DamagedError
        where what was built is not what was merged.
        """
        directory = self.folder / "version"
        directory.mkdir()
        dimensions = self._dimensions(sources)
        if changes.changed or self.base is None:
            if self.base is not None:
                self._download(directory, only_index=False)
            operations = changes.added + 2 * changes.updated + len(changes.removed)
            chroma = ChromaWriter(directory, self.database.collection, self.database.space, operations, dimensions)
            with chroma as writer:
                writer.delete(changes.removed)
                _apply(writer, sources, changes, check)
            check()
            verify(directory, self.database.collection, changes.index, _changed_ids(sources, changes))
        write_index(changes.index, directory / INDEX_FILE)
        return self._located(version, directory, dimensions)

    def _dimensions(self, sources: Sequence[RowSource]) -> int | None:
        """The vectors' length; None where there is none yet."""
        return same_dimensions(sources) if sources else self.base.dimensions if self.base else None

    def _download(self, directory: Path, *, only_index: bool) -> None:
        files = self.base.files if self.base else ()
        wanted = [file for file in files if (file.path == INDEX_FILE) == only_index]
        try:
            gathered = gather(self.store, wanted, directory, [self.laid] if self.laid is not None else [])
        except DamagedError as error:
            raise DamagedVersionError(f"the published version is damaged: {error}") from error
        if self.laid is not None:
            self.tell(
                f"{'record index' if only_index else 'files'} of the base: {gathered.copied:,} bytes from the "
                f"shared root, {gathered.downloaded:,} from S3"
            )

    def _located(self, version: str, directory: Path, dimensions: int | None) -> BuiltVersion:
        base_files = self.base.files if self.base else ()
        there = {(file.path, file.size, file.sha256): file.key for file in base_files}
        entries = list_files(directory)
        uploads: list[tuple[Path, str]] = []
        named: dict[str, VersionFile] = {}
        if [entry.path for entry in entries] == [INDEX_FILE]:
            named = {file.path: file for file in base_files}
        for entry in entries:
            key = there.get((entry.path, entry.size, entry.sha256))
            if key is None:
                key = version_prefix(self.database, version) + entry.path
                uploads.append((directory / entry.path, key))
            named[entry.path] = VersionFile(key=key, **entry.model_dump())
        return BuiltVersion(tuple(named[path] for path in sorted(named)), tuple(uploads), dimensions, directory)


def _apply(
    writer: ChromaWriter, sources: Sequence[RowSource], changes: Changes, check: Callable[[], None]
) -> None:
    for batch, add, update in _with_masks(sources, changes):
        check()
        if update.any():
            writer.replace(chroma_rows(batch.filter(pa.array(update))))
        if add.any():
            writer.add(chroma_rows(batch if add.all() else batch.filter(pa.array(add))))


def _with_masks(sources: Sequence[RowSource], changes: Changes) -> Iterator[tuple[pa.RecordBatch, Mask, Mask]]:
    position = 0
    for source in sources:
        for batch in source.batches():
            part = slice(position, position + batch.num_rows)
            position += batch.num_rows
            yield batch, changes.add[part], changes.update[part]


def _changed_ids(sources: Sequence[RowSource], changes: Changes) -> list[str]:
    return [
        record_id
        for batch, add, update in _with_masks(sources, changes)
        for record_id in batch.filter(pa.array(add | update)).column("id").to_pylist()
    ]
