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
from benchmarks.merging import floor, ours, parsing, replaced, script
from benchmarks.merging.chroma_alone import chroma_adds
from benchmarks.merging.deltas import folder_store
from benchmarks.merging.prepared import Prepared
from benchmarks.merging.recall import chroma_recall, floor_recall

WAYS = ("ours", "ours_chroma", "replaced", "floor", "script", "parse")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--recall", action="store_true", help="measure recall@10 as well, which takes a while")
    arguments = parser.parse_args()
    gc.freeze()  # as `embedding_assets.command` leaves the process; every way is measured so
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=arguments.prepared) as folder:
        told = _run(arguments.way, Prepared(arguments.prepared), Path(folder), recall=arguments.recall)
    print(json.dumps(told))  # noqa: T201


def _run(way: str, prepared: Prepared, folder: Path, *, recall: bool) -> dict[str, Any]:
    if way in ("ours", "ours_chroma"):
        return _ours(way, prepared, folder, recall=recall)
    records = prepared.records()
    told: dict[str, Any] = {}
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
        told["recall"] = floor_recall(made, records) if way == "floor" else chroma_recall(made, records)
    return asdict(cost) | told


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
    told: dict[str, Any] = {"writer": written, "index_mb": round(merged.built.size / 2**20, 1)}
    told |= {f"again_{name}": value for name, value in asdict(again).items()}
    told |= {f"chroma_add_{name}": value for name, value in asdict(adds).items()}
    if recall:
        told["recall"] = chroma_recall(merged.built.directory, prepared.records())
    return asdict(cost) | told


if __name__ == "__main__":
    main()
