"""How the cost of a merge grows with the number of embeddings: seconds of each, and memory."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import machine, medians, progress, run_worker
from benchmarks.merging.compare import WORKER
from benchmarks.merging.prepared import prepare

SIZES = ((3_000, 1536), (9_000, 1536), (27_000, 1536), (9_000, 384), (27_000, 384), (81_000, 384))


def grow(repeats: int) -> list[dict[str, Any]]:
    """Medians of our merge for each size."""
    figures = []
    for count, dimensions in SIZES:
        with tempfile.TemporaryDirectory(prefix="benchmark-growth-") as folder:
            progress(f"preparing {count} x {dimensions}")
            prepared = prepare(Path(folder) / "prepared", count, dimensions, only_ours=True)
            runs = [run_worker(WORKER, ["ours", str(prepared.folder)]) for _ in range(repeats)]
        middle = medians(runs)
        progress(f"{count} x {dimensions}: {middle['wall']} s, {middle['peak_mb']} MB")
        figures.append({"count": count, "dimensions": dimensions, "medians": middle, "runs": runs})
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    figures = {"machine": machine(), "results": grow(arguments.repeats)}
    arguments.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
