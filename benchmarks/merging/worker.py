"""One way to merge, measured in a process of its own: prints one JSON document."""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.measure import measured
from benchmarks.merging import floor, graph_alone, ours, parsing, replaced, script
from benchmarks.merging.chroma_alone import chroma_adds
from benchmarks.merging.deltas import folder_store, put_deltas
from benchmarks.merging.prepared import Prepared
from benchmarks.merging.recall import chroma_recall, floor_recall
from benchmarks.records import make_records
from embedding_assets.bucket.store import Store
from embedding_assets.executions.write_index import IndexWriter
from embedding_assets.rows.snapshot_directory import list_files
from embedding_assets.versions.manifest import VersionManifest

WAYS = ("ours", "ours_chroma", "replaced", "floor", "graph", "script", "parse")
PART_ADDED = 27
"""1,000 on 27,000."""
ADDED_BATCHES = 10
FIRST_ADDED = 1_000
"""Number of the first batch of what is added."""


def main() -> None:
    import chromadb.api.rust  # noqa: F401  # after its imports, as the others
    import faiss  # noqa: F401

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--recall", action="store_true", help="measure recall@10 as well, which takes a while")
    arguments = parser.parse_args()
    gc.freeze()  # as `embedding_assets.command` leaves the process; every way is measured so
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=arguments.prepared) as folder:
        figures = _run(arguments.way, Prepared(arguments.prepared), Path(folder), recall=arguments.recall)
    print(json.dumps(figures))  # noqa: T201


def _run(way: str, prepared: Prepared, folder: Path, *, recall: bool) -> dict[str, Any]:
    if way in ("ours", "ours_chroma"):
        return _ours(way, prepared, folder, recall=recall)
    records = prepared.records()
    if way == "graph":
        return asdict(graph_alone.build(records, folder))
    figures: dict[str, Any] = {}
    with measured() as cost:
        if way == "replaced":
            made = replaced.merge(prepared.chroma, prepared.results("chroma"), folder)
        elif way == "script":
            made = script.merge(prepared.outputs, folder)
        elif way == "parse":
            parsing.parse(prepared.outputs, int(records.vectors.shape[1]), folder)
        else:
            made = floor.build(records, folder)
    if recall and way != "parse":
        figures["recall"] = floor_recall(made, records) if way == "floor" else chroma_recall(made, records)
    return asdict(cost) | figures


def _ours(way: str, prepared: Prepared, folder: Path, *, recall: bool) -> dict[str, Any]:
    """The first merge, and the same deltas once more on what it published."""
    bucket = folder / "bucket"
    shutil.copytree(prepared.arrow, bucket)
    store = folder_store(bucket)
    results = prepared.results("arrow")
    writer: Any = "chroma" if way == "ours_chroma" else "auto"
    with chroma_adds() as adds, measured() as cost:
        merged = ours.merge(store, results, None, folder / "first", writer)
    written = merged.built.written.writer
    base = ours.publish(store, merged, 1, results)
    with measured() as again:
        second = ours.merge(store, results, base, folder / "second", writer, reopened=True)
    if second.changes.changed or second.built.uploads:
        raise SystemExit("the same deltas once more changed something")
    figures: dict[str, Any] = {"writer": written, "index_mb": round(merged.built.size / 2**20, 1)}
    figures |= {f"again_{name}": value for name, value in asdict(again).items()}
    figures |= {f"chroma_add_{name}": value for name, value in asdict(adds).items()}
    figures |= _increment(store, base, merged.built.directory, folder, writer)
    if recall:
        figures["recall"] = chroma_recall(merged.built.directory, prepared.records())
        figures["mixtures"] = merged.built.written.recall
    return asdict(cost) | figures


def _increment(
    store: Store, base: VersionManifest, directory: Path, folder: Path, writer: IndexWriter
) -> dict[str, float | str]:
    """New records on the base, a 27th of them, with its files at hand; and its files copied and hashed once."""
    count = max(1, base.total_embeddings // PART_ADDED)
    more = make_records(count, base.dimensions or 1, first=base.total_embeddings)
    results = put_deltas(store, more, ADDED_BATCHES, "arrow", first=FIRST_ADDED)
    with measured() as copying:
        shutil.copytree(directory, folder / "copied")
        list_files(folder / "copied")
    with measured() as adding:
        added = ours.merge(store, results, base, folder / "added", writer, directory)
    if added.changes.added != count:
        raise SystemExit(f"{added.changes.added} records were added, not {count}")
    figures: dict[str, float | str] = {"increment_writer": added.built.written.writer}
    figures |= {f"increment_{name}": value for name, value in asdict(adding).items()}
    return figures | {f"copying_{name}": value for name, value in asdict(copying).items()}


if __name__ == "__main__":
    main()
