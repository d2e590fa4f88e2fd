"""The ways to merge side by side: in turn, several times, medians and the ratios that matter."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import medians, progress, run_worker
from benchmarks.merging.prepared import BATCHES, prepare

WORKER = "benchmarks.merging.worker"


def compare(
    count: int, dimensions: int, ways: Sequence[str], repeats: int, batches: int = BATCHES
) -> dict[str, Any]:
    """Each way `repeats` times, interleaved; recall is measured in the first round."""
    with tempfile.TemporaryDirectory(prefix="benchmark-merging-") as folder:
        progress(f"preparing {count} x {dimensions}")
        prepared = prepare(Path(folder) / "prepared", count, dimensions, batches=batches)
        runs: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
        for round_ in range(repeats):
            for way in ways:
                recall = ["--recall"] if round_ == 0 else []
                result = run_worker(WORKER, [way, str(prepared.folder), *recall])
                runs[way].append(result)
                progress(
                    f"{count} x {dimensions}, round {round_ + 1}, {way}: {result['wall']} s, {result['cpu']} s CPU"
                )
    middle = {way: medians(results) for way, results in runs.items()}
    return {
        "count": count,
        "dimensions": dimensions,
        "batches": batches,
        "medians": middle,
        "ratios": ratios(middle),
        "writer": runs["ours"][0]["writer"],
        "runs": runs,
    }


def ratios(middle: dict[str, dict[str, float]]) -> dict[str, float]:
    """How many times faster ours is than the replaced design and the script; its cost in floors.

    The script parses OpenAI's outputs as well, so our parsing is added to ours there.
    """
    ours, replaced, floor = middle["ours"], middle["replaced"], middle["floor"]
    ratios = {
        "replaced_wall": replaced["wall"] / ours["wall"],
        "replaced_cpu": replaced["cpu"] / ours["cpu"],
        "floor_cpu": ours["cpu"] / floor["cpu"],
        "reingest_wall": ours["again_wall"] / ours["wall"],
        "reingest_cpu": ours["again_cpu"] / ours["cpu"],
        "increment_wall": ours["increment_wall"] / ours["copying_wall"],
        "increment_of_first_cpu": ours["increment_cpu"] / ours["cpu"],
    }
    if "graph" in middle:
        ratios["graph_floor_cpu"] = middle["graph"]["cpu"] / floor["cpu"]
    if "script" in middle:
        ratios["script_wall"] = middle["script"]["wall"] / (ours["wall"] + middle["parse"]["wall"])
        ratios["script_cpu"] = middle["script"]["cpu"] / (ours["cpu"] + middle["parse"]["cpu"])
    if "ours_chroma" in middle:
        chroma = middle["ours_chroma"]
        ratios["chroma_replaced_wall"] = replaced["wall"] / chroma["wall"]
        ratios["chroma_replaced_cpu"] = replaced["cpu"] / chroma["cpu"]
        ratios["chroma_floor_cpu"] = chroma["cpu"] / floor["cpu"]
        ratios["chroma_add_alone_floor_cpu"] = chroma["chroma_add_cpu"] / floor["cpu"]
    return {name: round(value, 3) for name, value in ratios.items()}
