"""What lies between two versions, told from their record indexes alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from embedding_assets.snapshots.directory import download_verified
from embedding_assets.snapshots.index import alive, read_index
from embedding_assets.snapshots.store import Store
from embedding_assets.snapshots.versions import INDEX_FILE, VersionManifest


@dataclass(frozen=True)
class Difference:
    """Record ids, sorted: `added` and `removed` going from the older to the newer, `changed` in content."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: int


def difference(store: Store, older: VersionManifest, newer: VersionManifest, folder: Path) -> Difference:
    """Compare two versions below `folder`, which must be private. Raises DamagedError for a wrong index."""
    left, right = (_hashes(store, one, folder / name) for name, one in (("older", older), ("newer", newer)))
    both = left.keys() & right.keys()
    changed = sorted(record_id for record_id in both if left[record_id] != right[record_id])
    return Difference(
        added=tuple(sorted(right.keys() - left.keys())),
        removed=tuple(sorted(left.keys() - right.keys())),
        changed=tuple(changed),
        unchanged=len(both) - len(changed),
    )


def _hashes(store: Store, manifest: VersionManifest, directory: Path) -> dict[str, bytes]:
    entries = [(file, file.key) for file in manifest.files if file.path == INDEX_FILE]
    download_verified(store, entries, directory)
    index = alive(read_index(directory / INDEX_FILE))
    return dict(zip(index.column("id").to_pylist(), index.column("hash").to_pylist(), strict=True))
