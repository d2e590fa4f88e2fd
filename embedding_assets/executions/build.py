"""Building one version in a private folder: the base's files, the changes applied, verified, and listed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from embedding_assets.bucket.keys import version_prefix, versions_prefix
from embedding_assets.bucket.store import Store
from embedding_assets.chroma.graph_files import header_beside
from embedding_assets.chroma.row_source import RowSource
from embedding_assets.databases import Database
from embedding_assets.errors import DamagedError, DamagedVersionError
from embedding_assets.executions.changes import Changes
from embedding_assets.executions.fold import same_dimensions
from embedding_assets.executions.write_index import DEFAULT_POLICY, IndexPolicy, IndexWriting, Written
from embedding_assets.progress import Progress
from embedding_assets.rows.record_index import empty_index, read_index, write_index
from embedding_assets.rows.snapshot_directory import list_files
from embedding_assets.versions.gather import gather
from embedding_assets.versions.manifest import INDEX_FILE, VersionManifest
from embedding_assets.versions.next_version import GraphFacts
from embedding_assets.versions.split_files import RowLayout, take_apart
from embedding_assets.versions.version_files import VersionFile


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

    def graph_after(self, base: VersionManifest | None) -> GraphFacts:
        """The facts of the graph: those of the base's if its files are named."""
        if self.written.writer == "none" and base is not None:
            return GraphFacts(base.writer, base.recall, base.nodes)
        return GraphFacts(self.written.writer, self.written.recall, self.written.nodes)


@dataclass(frozen=True)
class VersionBuilder:
    """Builds on `base` (None: from nothing) below `folder`, which must be private and empty of its names.

    `nearby` is where the base lies on a shared file system or in the local cache: its files are copied from there
    if they are right.
    """

    store: Store
    database: Database
    base: VersionManifest | None
    folder: Path
    nearby: Path | None = None
    progress: Progress = lambda message: None
    policy: IndexPolicy = DEFAULT_POLICY

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
            writing = IndexWriting(
                self.database, self.base, self.base_index, self.folder, self.progress, self.policy
            )
            written = writing.write(directory, sources, changes, dimensions, check)
        write_index(changes.index, directory / INDEX_FILE)
        return self._located(version, directory, dimensions, written)

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
        there = {
            (file.path, file.size, file.sha256): file
            for file in base_files
            if all(key in standing for key, _ in file.objects)
        }
        segments = {
            (part.size, part.sha256): part.key
            for file in base_files
            for part in (file.split.vectors if file.split is not None else ())
            if part.key in standing
        }
        entries = list_files(directory)
        uploads: list[tuple[Path, str]] = []
        named: dict[str, VersionFile] = {}
        if [entry.path for entry in entries] == [INDEX_FILE]:
            named = {file.path: file for file in base_files}
            needed = {key for file in base_files if file.path != INDEX_FILE for key, _ in file.objects}
            gone = sorted(needed - standing)
            if gone:
                raise DamagedVersionError(
                    f"the published version is damaged: {self.store.uri(gone[0])} is not there or of another size"
                )
        for entry in entries:
            path, prefix = directory / entry.path, version_prefix(self.database, version)
            layout = _layout_of(path) if self.policy.split else None
            known = there.get((entry.path, entry.size, entry.sha256))
            if known is not None:
                named[entry.path] = known
            elif layout is not None:
                named[entry.path], parts = take_apart(path, entry, layout, self.folder / "split", prefix, segments)
                uploads += parts
            else:
                named[entry.path] = VersionFile(key=prefix + entry.path, **entry.model_dump())
                uploads.append((path, prefix + entry.path))
        return BuiltVersion(
            tuple(named[path] for path in sorted(named)), tuple(uploads), dimensions, directory, written
        )

    def _standing(self, files: Sequence[VersionFile]) -> set[str]:
        """The keys of those files that lie in the bucket, of the right size: the others may be at hand here."""
        wanted = [one for file in files for one in file.objects]
        versions = versions_prefix(self.database)
        prefixes = {versions + key.removeprefix(versions).split("/")[0] + "/" for key, _ in wanted}
        sizes = {stored.key: stored.size for prefix in prefixes for stored in self.store.list(prefix)}
        return {key for key, size in wanted if sizes.get(key) == size}


def _layout_of(path: Path) -> RowLayout | None:
    """How the rows of the graph's file are laid out; None for any other file."""
    header = header_beside(path)
    if header is None:
        return None
    return RowLayout(header.element_size, header.vector_offset, header.label_offset - header.vector_offset)
