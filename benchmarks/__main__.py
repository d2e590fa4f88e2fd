"""`make bench`: everything, one after the other; results as JSON and charts into a folder."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.measure import progress

PARTS = {
    "merges": ("merges",),
    "incremental": ("incremental",),
    "incremental-split": ("incremental", "--bases", "100000", "--layouts", "split", "--repeats", "1"),
    "growth": ("growth",),
    "polling": ("polling",),
    "polling-large": ("polling", "--batches", "30", "--per-batch", "1000"),
    "orchestration": ("orchestration",),
    "planning": ("planning",),
}
"""The module of each part and its arguments besides where to write."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for part in arguments.only:
        started = time.monotonic()
        progress(f"== {part}")
        module, *options = PARTS[part]
        out = str(arguments.out / f"{part}.json")
        subprocess.run([sys.executable, "-m", f"benchmarks.{module}", "--out", out, *options], check=True)
        progress(f"== {part}: {time.monotonic() - started:.0f} s")
    subprocess.run([sys.executable, "-m", "benchmarks.report", str(arguments.out)], check=True)


if __name__ == "__main__":
    main()
