"""Writing the Chroma files of one version: directly, or by Chroma; anew, or on the base's."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from embedding_assets.chroma.collection import ChromaError, ChromaWriter
from embedding_assets.chroma.direct_changes import Trial, change_directly
from embedding_assets.chroma.direct_writer import refuse_unfit, write_directly
from embedding_assets.chroma.graph_files import find_graph
from embedding_assets.chroma.recall import measure_recall
from embedding_assets.chroma.row_source import RowSource, chroma_rows
from embedding_assets.chroma.self_check import self_check
from embedding_assets.databases import Database
from embedding_assets.errors import DamagedError, DamagedVersionError, UnsuitableError
from embedding_assets.executions.changes import Changes
from embedding_assets.executions.fold import Mask, chosen_rows, keys_of
from embedding_assets.executions.metadata_only import Published, amendments, metadata_only, published_of
from embedding_assets.progress import Progress
from embedding_assets.rows.arrow import regrouped
from embedding_assets.versions.manifest import VersionManifest
from embedding_assets.versions.published_rows import published_rows
from embedding_assets.versions.verify import verify

PUBLISHED_ROWS = "published.arrow"
PROBE_QUERIES = 64
"""Queries that measure the recall of what Chroma wrote, which is published whatever it is."""

MOST_NODES = 1.3
"""Nodes for each live record of a graph, beyond which it is built anew."""

IndexWriter = Literal["chroma", "direct", "auto"]
"""Who writes a version from scratch: Chroma, or `direct_writer` if it can. `direct` also makes changes so."""


@dataclass(frozen=True)
class IndexPolicy:
    """Who writes the Chroma files, and from how many nodes for each record on a graph is built anew."""

    writer: IndexWriter = "auto"
    most_nodes: float = MOST_NODES
    split: bool = False
    """Whether vectors are stored apart from the links of the graph."""


DEFAULT_POLICY = IndexPolicy()


@dataclass(frozen=True)
class Written:
    """Who wrote a version's Chroma files, and why not directly if that was tried.

    `writer` is `direct`, `chroma`, or `none` if the files are the base's. `recall` is the share of the nearest
    records that searches find, `nodes` counts the graph's nodes, those of deleted records too; None is not known.
    """

    writer: Literal["direct", "chroma", "none"]
    reason: str | None = None
    recall: float | None = None
    nodes: int | None = None


Attempt = Callable[[Path, Path, Sequence[RowSource], Changes, Callable[[], None]], float | None]
"""Writes the next version of the first directory into the second and verifies it; gives its recall."""


@dataclass(frozen=True)
class Amended:
    """The `rows` of which nothing but the metadata is new, and what of all updated records was published."""

    rows: Mask
    published: Published


@dataclass
class RecallProbe:
    """Measures the recall of a version on the private copy that is verified."""

    database: Database
    recall: float | None = None

    def __call__(self, copy: Path) -> Iterator[str]:
        self.recall = measure_recall(copy, self.database.collection, self.database.space, PROBE_QUERIES)
        yield from ()


@dataclass(frozen=True)
class IndexWriting:
    """Brings a directory with the files of `base` (None: an empty one) to the next version.

    `folder` is private. A graph that would have more than `most_nodes` nodes for each record is built anew.
    """

    database: Database
    base: VersionManifest | None
    base_index: Callable[[], pa.Table]
    folder: Path
    progress: Progress
    policy: IndexPolicy

    def write(
        self,
        directory: Path,
        sources: Sequence[RowSource],
        changes: Changes,
        dimensions: int | None,
        check: Callable[[], None],
    ) -> Written:
        """Bring `directory`, which holds the base's files, to what `changes` says, and verify it."""
        written = self._written(directory, sources, changes, dimensions, check)
        graph = find_graph(directory)
        return replace(written, nodes=graph.header.count if graph is not None else None)

    def _written(
        self,
        directory: Path,
        sources: Sequence[RowSource],
        changes: Changes,
        dimensions: int | None,
        check: Callable[[], None],
    ) -> Written:
        amended = self._amended(sources, changes)
        bloated = self._is_bloated(directory, changes, amended)
        reason = None
        attempt = self._without_chroma(changes, amended, bloated=bloated)
        if attempt is not None:
            new = self.folder / "direct"
            try:
                recall = attempt(directory, new, sources, changes, check)
            except DamagedVersionError:
                raise
            except (UnsuitableError, DamagedError, ChromaError, OSError, MemoryError) as problem:
                reason = str(problem) or type(problem).__name__
                self.progress(f"Chroma writes this version itself: {reason}")
            else:
                shutil.rmtree(directory)
                new.rename(directory)
                return Written("direct", recall=recall)
            finally:
                shutil.rmtree(new, ignore_errors=True)
                (self.folder / PUBLISHED_ROWS).unlink(missing_ok=True)
        if bloated:
            self._write_whole_by_chroma(directory, sources, changes, dimensions, check)
        else:
            self._write_by_chroma(directory, sources, changes, amended, dimensions, check)
        check()
        measured = RecallProbe(self.database)
        verify(directory, self.database.collection, changes.index, changes.changed_ids, measured)
        return Written("chroma", reason, measured.recall)

    def _without_chroma(self, changes: Changes, amended: Amended, *, bloated: bool) -> Attempt | None:
        """The way to write these changes without Chroma; None if Chroma is to write them."""
        if self.policy.writer == "chroma":
            return None
        if bloated or self._is_anew(changes, amended):
            return self._write_anew
        if self.policy.writer == "direct" and self.base is not None and not amended.rows.any():
            return self._write_changes
        return None

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

    def _is_bloated(self, directory: Path, changes: Changes, amended: Amended) -> bool:
        """Whether the graph in `directory`, the base's, would have too many nodes of records that are gone."""
        graph = find_graph(directory) if self.base is not None else None
        if graph is None or self.base is None:
            return False
        new = changes.added + changes.updated - int(amended.rows.sum())
        live = self.base.total_embeddings + changes.added - len(changes.removed)
        return graph.header.count + new > self.policy.most_nodes * live

    def _kept(self, base: Path, changes: Changes) -> tuple[list[RowSource], Mask]:
        """The rows of the base in `base`, and which of them stay as they are."""
        if self.base is None:
            return [], np.zeros(0, dtype=np.bool_)
        kept = published_rows(base, self.base, self.base_index(), self.folder / PUBLISHED_ROWS)
        gone = {*changes.changed_ids, *changes.removed}
        ids = keys_of(kept).column("id").to_pylist()
        return kept, np.array([record_id not in gone for record_id in ids], dtype=np.bool_)

    def _write_anew(
        self,
        base: Path,
        directory: Path,
        sources: Sequence[RowSource],
        changes: Changes,
        check: Callable[[], None],
    ) -> float:
        """Write what stays of the base and what is new without Chroma, let Chroma try it; the recall."""
        refuse_unfit()
        new = changes.add | changes.update
        kept, stays = self._kept(base, changes)
        name, space = self.database.collection, self.database.space
        written = write_directly(
            directory, name, space, lambda: chain(chosen_rows(kept, stays), chosen_rows(sources, new)), check
        )
        check()
        self.progress(
            f"the graph is built on {written.rung}: it finds {written.recall:.3f} of the nearest records"
        )
        verify(
            directory,
            name,
            changes.index,
            None,
            lambda copy: self_check(copy, name, written.exact, written.recall),
        )
        return written.recall

    def _write_changes(
        self,
        base: Path,
        directory: Path,
        sources: Sequence[RowSource],
        changes: Changes,
        check: Callable[[], None],
    ) -> float | None:
        """Make the changes in a copy of the base without Chroma, let Chroma try it; the recall."""
        refuse_unfit()
        name, space = self.database.collection, self.database.space
        shutil.copytree(base, directory)
        updated = [one for rows in _runs(sources, changes.update, check) for one in rows.column("id").to_pylist()]
        rows = chain(_runs(sources, changes.update, check), _runs(sources, changes.add, check))
        new = change_directly(directory, name, space, [*changes.removed, *updated], rows)
        check()
        trial = Trial(name, space, self.base.recall if self.base else None, new)
        verify(directory, name, changes.index, changes.changed_ids, trial)
        return trial.recall

    def _write_whole_by_chroma(
        self,
        directory: Path,
        sources: Sequence[RowSource],
        changes: Changes,
        dimensions: int | None,
        check: Callable[[], None],
    ) -> None:
        """Let Chroma write what stays of the base in `directory` and what is new, in its place."""
        kept, stays = self._kept(directory, changes)
        new = self.folder / "whole"
        total = int(stays.sum()) + changes.added + changes.updated
        try:
            with ChromaWriter(new, self.database.collection, self.database.space, total, dimensions) as writer:
                for batch in chain(_runs(kept, stays, check), _runs(sources, changes.add | changes.update, check)):
                    writer.add(chroma_rows(batch))
            shutil.rmtree(directory)
            new.rename(directory)
        finally:
            shutil.rmtree(new, ignore_errors=True)
            (self.folder / PUBLISHED_ROWS).unlink(missing_ok=True)

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


def _runs(sources: Sequence[RowSource], mask: Mask, check: Callable[[], None]) -> Iterator[pa.RecordBatch]:
    """The chosen rows in batches that are worth an operation of Chroma; `check` is called before each."""
    if mask.any():
        for batch in regrouped(chosen_rows(sources, mask)):
            check()
            yield batch
