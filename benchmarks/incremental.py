"""1,000 new records on a base of many: seconds, and bytes down and up, with and without the local cache.

`chroma` lets Chroma make the changes, `copy` copies and hashes the base's files once.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.folder_s3 import FolderS3
from benchmarks.measure import machine, measured, progress
from benchmarks.merging import ours
from benchmarks.merging.deltas import BUCKET, put_deltas
from benchmarks.records import make_records
from embedding_assets.bucket.store import Store
from embedding_assets.databases import LINES
from embedding_assets.executions.write_index import IndexWriter
from embedding_assets.rows.snapshot_directory import list_files
from embedding_assets.versions.base_cache import BaseCache
from embedding_assets.versions.manifest import VersionManifest

ADDED = 1_000
BATCHES = 10


class CountingS3(FolderS3):
    """A folder as a bucket, that counts the bytes of versions' files that go down and up."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.down = 0
        self.up = 0

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        """One object, as a stream."""
        answer = super().get_object(Bucket, Key)
        if "/snapshot/versions/" in Key:
            self.down += answer["ContentLength"]
        return answer

    def put_object(self, Bucket: str, Key: str, Body: Any, **options: Any) -> dict[str, Any]:
        """Write one object."""
        answer = super().put_object(Bucket, Key, Body, **options)
        self._count_up(Bucket, Key)
        return answer

    def upload_file(self, Filename: str, Bucket: str, Key: str, ExtraArgs: object = None, **options: Any) -> None:
        """Write one object from a file."""
        super().upload_file(Filename, Bucket, Key, ExtraArgs, **options)
        self._count_up(Bucket, Key)

    def _count_up(self, bucket: str, key: str) -> None:
        if "/snapshot/versions/" in key:
            self.up += self._path(bucket, key).stat().st_size


def incremental(base_count: int, dimensions: int, repeats: int, *, split: bool) -> dict[str, Any]:
    """Add to a base of `base_count`, `repeats` times each with the base in the cache and without."""
    with tempfile.TemporaryDirectory(prefix="benchmark-incremental-") as name:
        folder = Path(name)
        client = CountingS3(folder / "bucket")
        store = Store(BUCKET, client, client)  # type: ignore[arg-type]  # the calls that it makes are there
        progress(f"building a base of {base_count} x {dimensions}")
        results = put_deltas(store, make_records(base_count, dimensions), 30, "arrow")
        with measured() as building:
            merged = ours.merge(store, results, None, folder / "base", "auto", split=split)
        base = ours.publish(store, merged, 1, results)
        shutil.rmtree(folder / "base" / "parts", ignore_errors=True)
        cache = BaseCache(folder / "cache", BUCKET, LINES)
        shutil.copytree(merged.built.directory, cache.directory(base.version))
        added = make_records(ADDED, dimensions, first=base_count)
        new = put_deltas(store, added, BATCHES, "arrow", first=1_000)
        runs = {"cached": [], "cold": [], "chroma": [], "copy": []}  # type: dict[str, list[dict[str, float]]]
        for round_ in range(repeats):
            for way, costs in runs.items():
                at_hand = cache.directory(base.version)
                if way == "copy":
                    costs.append(_copy(at_hand, folder / f"{way}-{round_}"))
                else:
                    nearby = None if way == "cold" else at_hand
                    writer: IndexWriter = "chroma" if way == "chroma" else "direct"
                    added_in = folder / f"{way}-{round_}"
                    costs.append(_add(store, client, new, base, added_in, nearby, writer, split=split))
                progress(f"{ADDED} on {base_count}, {way}: {costs[-1]}")
        return {
            "base": base_count,
            "dimensions": dimensions,
            "layout": "split" if split else "whole",
            "base_mb": round(base.size / 2**20, 1),
            "base_seconds": building.wall,
            **{way: _medians(costs) for way, costs in runs.items()},
            "runs": runs,
        }


def _add(
    store: Store,
    client: CountingS3,
    results: Sequence[Any],
    base: VersionManifest,
    folder: Path,
    nearby: Path | None,
    writer: IndexWriter = "direct",
    *,
    split: bool = False,
) -> dict[str, float]:
    client.down = client.up = 0
    with measured() as cost:
        merged = ours.merge(store, results, base, folder, writer, nearby, split=split)
        store.upload_files(merged.built.uploads)
    if (merged.changes.added, merged.built.written.writer) != (ADDED, writer):
        raise SystemExit(f"{merged.changes.added} were added by {merged.built.written}")
    shutil.rmtree(folder)
    return asdict(cost) | {"mb_down": round(client.down / 2**20, 1), "mb_up": round(client.up / 2**20, 1)}


def _copy(directory: Path, folder: Path) -> dict[str, float]:
    """The base's files copied and hashed once."""
    with measured() as cost:
        shutil.copytree(directory, folder)
        list_files(folder)
    shutil.rmtree(folder)
    return asdict(cost)


def _medians(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(run[name] for run in runs), 2) for name in runs[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--bases", type=int, nargs="+", default=[9_000, 27_000, 100_000])
    parser.add_argument("--layouts", nargs="+", choices=["whole", "split"], default=["whole"])
    arguments = parser.parse_args()
    figures = [
        incremental(count, 1536, arguments.repeats, split=layout == "split")
        for count in arguments.bases
        for layout in arguments.layouts
    ]
    arguments.out.write_text(
        json.dumps({"machine": machine(), "added": ADDED, "results": figures}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
