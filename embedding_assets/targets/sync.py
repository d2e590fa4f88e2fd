"""Bringing a target to the published version: what changed since the version that it holds, or all that differs.

Promise: afterwards the target holds exactly the records of one version, as the record index says; what was written
is read back. Whoever dies in between leaves a target that the next call finishes: it writes what is not there yet.
One process at a time writes. What remains: a process that stands still past its lease just before a call may write
an older record over a newer one; `targets verify` finds it, `targets sync --all` mends it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import pyarrow as pa
import pyarrow.compute as pc

from embedding_assets.bucket.store import Store
from embedding_assets.chroma.collection import ChromaRows
from embedding_assets.chroma.row_source import chroma_rows
from embedding_assets.chroma.server import ServerCollection, open_server
from embedding_assets.databases import Database
from embedding_assets.errors import NotFoundError, ServiceError
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.progress import Progress
from embedding_assets.rows.record_index import alive
from embedding_assets.targets.address import Target
from embedding_assets.targets.applied import Applied, TargetRow
from embedding_assets.targets.changed_rows import ChangedRows
from embedding_assets.versions.base_cache import BaseCache
from embedding_assets.versions.changes_file import read_changes
from embedding_assets.versions.manifest import VersionManifest, chain
from embedding_assets.versions.reader import published_index
from embedding_assets.versions.verify import Expected, differing, expected_of
from embedding_assets.versions.witnesses import trusted_pointer

OF_RECORDS = ("added", "updated", "removed")


@dataclass(frozen=True)
class Synced:
    """What was done: `written` and `removed` count records; `whole` says that everything was compared."""

    target: str
    database: str
    version: str | None
    written: int = 0
    removed: int = 0
    whole: bool = False


@dataclass(frozen=True)
class TargetSync:
    """Keeps one target of one database in step with what is published."""

    store: Store
    ledger: Ledger
    database: Database
    target: Target
    lease_seconds: float
    progress: Progress
    cache: BaseCache | None = None

    @property
    def row(self) -> TargetRow:
        """The target's item in the table."""
        return TargetRow(self.ledger.client, self.ledger.table, self.database.name, self.target.name)

    def is_behind(self, published: VersionManifest) -> bool:
        """Whether the target does not hold this version, as far as its item says."""
        applied = self.row.read()
        return applied.version != published.version or applied.address != self.target.address.shown

    def bring(self, *, everything: bool = False) -> Synced:
        """Bring the target to what is published now. `everything`: compare all, whatever its item says.

        Raises TransientError or ServiceError if the server cannot be written to, LockError if another process took
        over; what was written until then stays and is finished by the next call.
        """
        with self.row.lock(self.lease_seconds, self.progress) as lock:
            done = Synced(self.target.name, self.database.name, None)
            while True:
                pointer = trusted_pointer(self.store, self.ledger, self.database)
                if pointer is None:
                    return done
                published = pointer.manifest
                if done.version == published.version or (not everything and not self.is_behind(published)):
                    return done if done.version else replace(done, version=published.version)
                done = self._apply(published, lock.check, everything=everything)
                everything = False

    def _apply(self, published: VersionManifest, check: Callable[[], None], *, everything: bool) -> Synced:
        address = self.target.address
        before = self.row.read()
        server = open_server(address, self.database.collection, self.database.space)
        index = alive(published_index(self.store, published)).combine_chunks()
        known = not everything and before.address == address.shown
        since = self._since(published, before) if known else None
        changed = None if since is None else self._changed(since)
        self.row.begin(Applied() if changed is None else before, published.version, address.shown)
        if changed is None:
            self.progress(f"target {self.target.name}: comparing all {index.num_rows:,} records")
            wanted, gone = self._all_that_differs(server, index, check)
        else:
            chosen = _chosen(index, changed)
            there = chosen.column("id").to_pylist()
            gone = sorted(changed.difference(there))
            wanted = there if before.applying is None else self._that_differ(server, expected_of(chosen), check)
        for start in range(0, len(gone), server.most_at_once):
            check()
            server.delete(gone[start : start + server.most_at_once])
        rows = ChangedRows(self.store, published, _deltas(since or ()), self.cache)
        self._write(server, rows, _chosen(index, wanted), check)
        count = server.count()
        if count != index.num_rows:
            if not everything and changed is not None:
                self.progress(f"target {self.target.name} has {count} records, not {index.num_rows}")
                return self._apply(published, check, everything=True)
            raise ServiceError(
                f"target {self.target.name} has {count} records, version {published.version} has {index.num_rows}"
            )
        check()
        self.row.finish(published.version, address.shown)
        target, database = self.target.name, self.database.name
        return Synced(target, database, published.version, len(wanted), len(gone), changed is None)

    def _since(self, published: VersionManifest, before: Applied) -> list[VersionManifest] | None:
        """The versions since that which the target holds, the newest first; None if nobody can say.

        A version that was begun and is not in the chain any more may have left anything.
        """
        newer = list(
            takewhile(lambda one: one.version != before.version, chain(self.store, self.database, published))
        )
        if not newer:
            return newer if before.applying is None else None
        if newer[-1].parent != before.version or before.version is None:
            return None
        begun = before.applying is None or before.applying in {one.version for one in newer}
        return newer if begun else None

    def _changed(self, since: Sequence[VersionManifest]) -> set[str] | None:
        """Ids that changed in these versions; None if one of them does not say so."""
        try:
            changes = [one for manifest in since for one in read_changes(self.store, manifest)]
        except NotFoundError:
            return None
        return {one.id for one in changes if one.change in OF_RECORDS}

    def _all_that_differs(
        self, server: ServerCollection, index: pa.Table, check: Callable[[], None]
    ) -> tuple[list[str], list[str]]:
        """Ids to be written, and ids on the server that the version does not have."""
        there = set(server.ids())
        expected = expected_of(index)
        shared = {record_id: expected[record_id] for record_id in expected if record_id in there}
        wanted = sorted(expected.keys() - there) + self._that_differ(server, shared, check)
        return wanted, sorted(there - expected.keys())

    @staticmethod
    def _that_differ(server: ServerCollection, expected: Expected, check: Callable[[], None]) -> list[str]:
        """The ids that the server does not have, or has otherwise: what an interrupted write left to do."""
        same: set[str] = set()
        for page in server.rows(sorted(expected)):
            check()
            same.update(set(page.ids).difference(differing(page, expected)))
        return sorted(expected.keys() - same)

    def _write(
        self, server: ServerCollection, rows: ChangedRows, wanted: pa.Table, check: Callable[[], None]
    ) -> None:
        expected = expected_of(wanted)
        written = 0
        for batch in rows.of(wanted) if wanted.num_rows else ():
            for start in range(0, batch.num_rows, server.most_at_once):
                part = chroma_rows(batch.slice(start, server.most_at_once))
                check()
                self._replace(server, part, expected)
                written += len(part.ids)
                self.progress(f"target {self.target.name}: {written:,} of {wanted.num_rows:,} records written")

    def _replace(self, server: ServerCollection, rows: ChromaRows, expected: Expected) -> None:
        """Write records over whatever is there under their ids, and read them back."""
        old = server.there(rows.ids)
        if old:
            server.delete(old)
        server.add(rows)
        found = list(server.rows(rows.ids))
        read = {record_id for page in found for record_id in page.ids}
        wrong = [record_id for page in found for record_id in differing(page, expected)]
        wrong += [record_id for record_id in rows.ids if record_id not in read]
        if wrong:
            raise ServiceError(f"target {self.target.name} does not give back {wrong[0]!r} as it was written")


def _deltas(history: Sequence[VersionManifest]) -> dict[str, str]:
    """By batch, the delta that the newest version that accounts for it took."""
    found: dict[str, str] = {}
    for manifest in history:
        for batch in manifest.batches:
            if batch.delta_key is not None:
                found.setdefault(batch.batch_id, batch.delta_key)
    return found


def _chosen(index: pa.Table, ids: Sequence[str] | set[str]) -> pa.Table:
    return index.filter(pc.is_in(index.column("id"), pa.array(sorted(ids), pa.string())))
