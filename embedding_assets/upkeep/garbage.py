"""What gc may delete. Pure: the chain, the tags and the listed objects in, keys out.

Never a file that a retained version names (a version may name an older one's files), never a `manifest.json`
of a version, nothing younger than the minimal age, no unpublished version younger than twice the longest merge.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from embedding_assets.bucket.keys import delta_of, execution_of_intermediate, versions_prefix
from embedding_assets.bucket.store import StoredObject
from embedding_assets.databases import Database
from embedding_assets.ledger.batch_summary import parse_instant
from embedding_assets.rows.snapshot_directory import MANIFEST
from embedding_assets.versions.manifest import VersionManifest, epoch_of


@dataclass(frozen=True)
class DeletedObjects:
    """Objects of one owner that go together: a version, an execution or a delta."""

    owner: str
    objects: tuple[StoredObject, ...]

    @property
    def size(self) -> int:
        """Bytes of all objects together."""
        return sum(entry.size for entry in self.objects)


def kept_versions(
    chain: Sequence[VersionManifest],
    tagged: Collection[str],
    retention: int,
    min_age: timedelta,
    now: datetime,
) -> set[str]:
    """The newest `retention` versions, the tagged ones, and those that were current less than `min_age` ago.

    A version that an earlier gc has begun to sweep is not kept, whatever it is called meanwhile.
    """
    kept = {manifest.version for manifest in chain[:retention]}
    kept |= {manifest.version for manifest in chain if manifest.version in tagged}
    for newer, older in pairwise(chain):
        if now - parse_instant(newer.created_at) < min_age:
            kept.add(older.version)
    return kept - set(chain[0].sweeping)


def old_versions(
    chain: Sequence[VersionManifest],
    kept: Collection[str],
    listed: Iterable[StoredObject],
    database: Database,
    min_age: timedelta,
    now: datetime,
) -> list[DeletedObjects]:
    """The own files of published versions that are not kept, but for those that a kept one names.

    What an earlier gc has begun to sweep goes whatever `min_age` is now: that gc may still be alive, and delete
    it once the pointer no longer says that it is being swept.
    """
    named = {key for manifest in chain if manifest.version in kept for key in manifest.keys}
    going = {manifest.version for manifest in chain} - set(kept)
    begun = set(chain[0].sweeping)
    found = []
    for version, objects in _by_version(listed, database):
        age = timedelta.min if version in begun else min_age
        free = [one for one in objects if one.key not in named and now - one.last_modified >= age]
        if version in going and free:
            found.append(DeletedObjects(version, tuple(free)))
    return found


def not_whole_without(chain: Sequence[VersionManifest], swept: Sequence[DeletedObjects]) -> set[str]:
    """The versions that lose a file with `swept`: also those that name an older version's files."""
    going = {one.key for version in swept for one in version.objects}
    losing = {manifest.version for manifest in chain if not going.isdisjoint(manifest.keys)}
    return losing | {version.owner for version in swept}


def unpublished(
    chain: Sequence[VersionManifest],
    listed: Iterable[StoredObject],
    database: Database,
    epoch: int,
    min_age: timedelta,
    now: datetime,
) -> list[DeletedObjects]:
    """What merges left that published nothing: of an epoch before ours, none of its files young."""
    published = {manifest.version for manifest in chain}
    longest = timedelta(seconds=max(manifest.merge_seconds for manifest in chain))
    age = max(min_age, 2 * longest)
    return [
        DeletedObjects(version, tuple(objects))
        for version, objects in _by_version(listed, database)
        if version not in published
        and (written_by := epoch_of(version)) is not None
        and written_by < epoch
        and all(now - one.last_modified >= age for one in objects)
    ]


def by_execution(listed: Iterable[StoredObject], min_age: timedelta, now: datetime) -> list[DeletedObjects]:
    """Intermediate snapshots by execution, if none of an execution's is young."""
    groups: dict[str, list[StoredObject]] = {}
    for entry in listed:
        execution_id = execution_of_intermediate(entry.key)
        if execution_id is not None:
            groups.setdefault(execution_id, []).append(entry)
    return _old(groups, min_age, now)


def by_delta(
    listed: Iterable[StoredObject], database: Database, min_age: timedelta, now: datetime
) -> list[DeletedObjects]:
    """Deltas by their prefix, if none of a delta's objects is young."""
    groups: dict[str, list[StoredObject]] = {}
    for entry in listed:
        delta = delta_of(database, entry.key)
        if delta is not None:
            groups.setdefault(delta, []).append(entry)
    return _old(groups, min_age, now)


def published_deltas(chain: Sequence[VersionManifest], needed: Collection[str]) -> set[str]:
    """Prefixes of the deltas that versions account for, of batches that are not among the `needed` ones."""
    return {
        batch.delta_key
        for manifest in chain
        for batch in manifest.batches
        if batch.delta_key is not None and batch.batch_id not in needed
    }


def _old(groups: Mapping[str, list[StoredObject]], min_age: timedelta, now: datetime) -> list[DeletedObjects]:
    return [
        DeletedObjects(owner, tuple(objects))
        for owner, objects in sorted(groups.items())
        if all(now - entry.last_modified >= min_age for entry in objects)
    ]


def _by_version(listed: Iterable[StoredObject], database: Database) -> Iterator[tuple[str, list[StoredObject]]]:
    groups: dict[str, list[StoredObject]] = {}
    start = len(versions_prefix(database))
    for entry in listed:
        version, slash, path = entry.key[start:].partition("/")
        if slash and path != MANIFEST:
            groups.setdefault(version, []).append(entry)
    yield from sorted(groups.items())
