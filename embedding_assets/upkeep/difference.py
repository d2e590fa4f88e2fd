"""The difference of two versions, from their record indexes alone."""

from __future__ import annotations

from dataclasses import dataclass

from embedding_assets.bucket.store import Store
from embedding_assets.rows.record_index import alive
from embedding_assets.versions.manifest import VersionManifest
from embedding_assets.versions.reader import published_index


@dataclass(frozen=True)
class Difference:
    """Record ids, sorted: `added` and `removed` going from the older to the newer, `changed` in content."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: int


def difference(store: Store, older: VersionManifest, newer: VersionManifest) -> Difference:
    """Compare two versions. Raises DamagedError for a wrong index."""
    left, right = (_hashes(store, one) for one in (older, newer))
    both = left.keys() & right.keys()
    changed = sorted(record_id for record_id in both if left[record_id] != right[record_id])
    return Difference(
        added=tuple(sorted(right.keys() - left.keys())),
        removed=tuple(sorted(left.keys() - right.keys())),
        changed=tuple(changed),
        unchanged=len(both) - len(changed),
    )


def _hashes(store: Store, manifest: VersionManifest) -> dict[str, bytes]:
    index = alive(published_index(store, manifest))
    return dict(zip(index.column("id").to_pylist(), index.column("hash").to_pylist(), strict=True))
