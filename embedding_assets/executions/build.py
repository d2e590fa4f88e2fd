"""Building one version in a private folder: the base's files, the changes applied, verified, and listed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from embedding_assets.bucket.keys import version_prefix
from embedding_assets.bucket.store import Store
from embedding_assets.chroma.collection import ChromaError, ChromaWriter
from embedding_assets.chroma.direct_writer import refuse_unfit, write_directly
from embedding_assets.chroma.row_source import RowSource, chroma_rows
from embedding_assets.chroma.self_check import self_check
from embedding_assets.databases import Database
from embedding_assets.errors import DamagedError, DamagedVersionError, UnsuitableError
from embedding_assets.executions.changes import Changes
from embedding_assets.executions.fold import Mask, chosen_rows, keys_of, same_dimensions
from embedding_assets.executions.metadata_only import Published, amendments, metadata_only, published_of
from embedding_assets.progress import Progress
from embedding_assets.rows.arrow import regrouped
from embedding_assets.rows.record_index import empty_index, read_index, write_index
from embedding_assets.rows.snapshot_directory import list_files
from embedding_assets.versions.gather import gather
from embedding_assets.versions.manifest import (
    INDEX_FILE,
    VersionFile,
    VersionManifest,
)
from embedding_assets.versions.published_rows import published_rows
from embedding_assets.versions.verify import verify

PUBLISHED_ROWS = "published.arrow"

IndexWriter = Literal["chroma", "direct", "auto"]
"""Who writes a version that is built from scratch: Chroma itself, or `direct_writer` wherever it can."""


@dataclass(frozen=True)
class Written:
    """Who wrote a version's Chroma files, and why not directly where that was tried.

    `writer` is `direct`, `chroma`, or `none` where the files are the base's.
    """

    writer: Literal["direct", "chroma", "none"]
    reason: str | None = None


@dataclass(frozen=True)
class Amended:
    """The `rows` of which nothing but the metadata is new, and what of all updated records was published."""

    rows: Mask
    published: Published


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
    written: Written

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)

    def writer_after(self, before: str | None) -> str | None:
        """Who wrote the Chroma files: whoever wrote the base's where those are named."""
        return before if self.written.writer == "none" else self.written.writer


@dataclass(frozen=True)
class VersionBuilder:
    """Builds on `base` (None: from nothing) below `folder`, which must be private and empty of its names.

    `nearby` is where the base lies on a shared file system or in the local cache: its files are copied from there
    where they are right.
    """

    store: Store
    database: Database
    base: VersionManifest | None
    folder: Path
    nearby: Path | None = None
    progress: Progress = lambda message: None
    writer: IndexWriter = "auto"

    def base_index(self) -> pa.Table:
        """The record index of the base, brought here once; an empty one without a base."""
        if self.base is None:
            return empty_index()
        directory = self.folder / "base_index"
        if not directory.exists():
            self._download(directory, only_index=True)
        return read_index(directory / INDEX_FILE)

    def build(
        self, version: str, sources: Sequence[RowSource], changes: Changes, check: Callable[[], None]
    ) -> BuiltVersion:
        """Apply `changes` to the base; `check` is called often and raises if the work became pointless.

        Where no record changed, Chroma is not opened and the base's files are named. Raises DamagedError
        where what was built is not what was merged.
        """
        directory = self.folder / "version"
        directory.mkdir()
        dimensions = self._dimensions(sources)
        written = Written("none")
        if changes.changed or self.base is None:
            if self.base is not None:
                self._download(directory, only_index=False)
            written = self._write(directory, sources, changes, dimensions, check)
        write_index(changes.index, directory / INDEX_FILE)
        return self._located(version, directory, dimensions, written)

    def _write(
        self,
        directory: Path,
        sources: Sequence[RowSource],
        changes: Changes,
        dimensions: int | None,
        check: Callable[[], None],
    ) -> Written:
        """Bring `directory`, which holds the base's files, to what `changes` says, and verify it."""
        reason = None
        amended = self._amended(sources, changes)
        if self.writer != "chroma" and self._is_anew(changes, amended):
            new = self.folder / "direct"
            try:
                self._write_anew(directory, new, sources, changes, check)
            except (UnsuitableError, DamagedError, ChromaError, OSError, MemoryError) as problem:
                if isinstance(problem, DamagedVersionError):
                    raise
                reason = str(problem) or type(problem).__name__
                self.progress(f"Chroma writes this version itself: {reason}")
            else:
                shutil.rmtree(directory)
                new.rename(directory)
                return Written("direct")
            finally:
                shutil.rmtree(new, ignore_errors=True)
                (self.folder / PUBLISHED_ROWS).unlink(missing_ok=True)
        self._write_by_chroma(directory, sources, changes, amended, dimensions, check)
        check()
        verify(directory, self.database.collection, changes.index, changes.changed_ids)
        return Written("chroma", reason)

    def _amended(self, sources: Sequence[RowSource], changes: Changes) -> Amended:
        """The records of which nothing but the metadata is new."""
        if not changes.updated:
            return Amended(np.zeros(len(changes.update), dtype=np.bool_), {})
        ids = [one for batch in chosen_rows(sources, changes.update) for one in batch.column("id").to_pylist()]
        published = published_of(self.base_index(), ids)
        return Amended(metadata_only(sources, changes.update, published), published)

    def _is_anew(self, changes: Changes, amended: Amended) -> bool:
        """Whether more of the graph is new than stays: then the whole is built again."""
        replaced = changes.updated - int(amended.rows.sum())
        stays = self.base.total_embeddings - replaced - len(changes.removed) if self.base else 0
        return changes.added + replaced > stays

    def _write_anew(
        self,
        base: Path,
        directory: Path,
        sources: Sequence[RowSource],
        changes: Changes,
        check: Callable[[], None],
    ) -> None:
        """Write what stays of the base and what is new without Chroma, and let Chroma try it."""
        refuse_unfit()
        new = changes.add | changes.update
        kept: list[RowSource] = []
        stays = np.zeros(0, dtype=np.bool_)
        if self.base is not None:
            kept = published_rows(base, self.base, self.base_index(), self.folder / PUBLISHED_ROWS)
            gone = {*changes.changed_ids, *changes.removed}
            ids = keys_of(kept).column("id").to_pylist()
            stays = np.array([record_id not in gone for record_id in ids], dtype=np.bool_)
        name, space = self.database.collection, self.database.space
        answers = write_directly(
            directory, name, space, lambda: chain(chosen_rows(kept, stays), chosen_rows(sources, new)), check
        )
        check()
        verify(directory, name, changes.index, None, lambda copy: self_check(copy, name, answers))

    def _write_by_chroma(
        self,
        directory: Path,
        sources: Sequence[RowSource],
        changes: Changes,
        amended: Amended,
        dimensions: int | None,
        check: Callable[[], None],
    ) -> None:
        replace = changes.update & ~amended.rows
        operations = changes.added + changes.updated + int(replace.sum()) + len(changes.removed)
        chroma = ChromaWriter(directory, self.database.collection, self.database.space, operations, dimensions)
        with chroma as writer:
            writer.delete(changes.removed)
            for batch in _runs(sources, amended.rows, check):
                writer.amend(batch.column("id").to_pylist(), amendments(batch, amended.published))
            for batch in _runs(sources, replace, check):
                writer.replace(chroma_rows(batch))
            for batch in _runs(sources, changes.add, check):
                writer.add(chroma_rows(batch))

    def _dimensions(self, sources: Sequence[RowSource]) -> int | None:
        """The vectors' length; None if there is none yet."""
        return same_dimensions(sources) if sources else self.base.dimensions if self.base else None

    def _download(self, directory: Path, *, only_index: bool) -> None:
        files = self.base.files if self.base else ()
        wanted = [file for file in files if (file.path == INDEX_FILE) == only_index]
        try:
            gathered = gather(self.store, wanted, directory, [self.nearby] if self.nearby is not None else [])
        except DamagedError as error:
            raise DamagedVersionError(f"the published version is damaged: {error}") from error
        if self.nearby is not None:
            self.progress(
                f"{'record index' if only_index else 'files'} of the base: {gathered.copied:,} bytes were "
                f"at hand, {gathered.downloaded:,} came from S3"
            )

    def _located(self, version: str, directory: Path, dimensions: int | None, written: Written) -> BuiltVersion:
        base_files = self.base.files if self.base else ()
        standing = self._standing(base_files)
        there = {(file.path, file.size, file.sha256): file.key for file in base_files if file.key in standing}
        entries = list_files(directory)
        uploads: list[tuple[Path, str]] = []
        named: dict[str, VersionFile] = {}
        if [entry.path for entry in entries] == [INDEX_FILE]:
            named = {file.path: file for file in base_files}
            gone = sorted(file.key for file in base_files if file.path != INDEX_FILE and file.key not in standing)
            if gone:
                raise DamagedVersionError(
                    f"the published version is damaged: {self.store.uri(gone[0])} is not there or of another size"
                )
        for entry in entries:
            key = there.get((entry.path, entry.size, entry.sha256))
            if key is None:
                key = version_prefix(self.database, version) + entry.path
                uploads.append((directory / entry.path, key))
            named[entry.path] = VersionFile(key=key, **entry.model_dump())
        return BuiltVersion(
            tuple(named[path] for path in sorted(named)), tuple(uploads), dimensions, directory, written
        )

    def _standing(self, files: Sequence[VersionFile]) -> set[str]:
        """The keys of those files that lie in the bucket, of the right size: the others may be at hand here."""
        sizes = {
            stored.key: stored.size
            for prefix in {file.key.removesuffix(file.path) for file in files}
            for stored in self.store.list(prefix)
        }
        return {file.key for file in files if sizes.get(file.key) == file.size}


def _runs(sources: Sequence[RowSource], mask: Mask, check: Callable[[], None]) -> Iterator[pa.RecordBatch]:
    """The chosen rows in batches that are worth an operation of Chroma; `check` is called before each."""
    if mask.any():
        for batch in regrouped(chosen_rows(sources, mask)):
            check()
            yield batch
