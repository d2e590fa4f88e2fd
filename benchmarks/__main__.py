"""`make bench`: everything, one after the other; results as JSON and charts into a folder."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.measure import progress

PARTS = ("merges", "incremental", "growth", "polling", "orchestration", "planning")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for part in arguments.only:
        started = time.monotonic()
        progress(f"== {part}")
        subprocess.run(
            [sys.executable, "-m", f"benchmarks.{part}", "--out", str(arguments.out / f"{part}.json")], check=True
        )
        progress(f"== {part}: {time.monotonic() - started:.0f} s")
    subprocess.run([sys.executable, "-m", "benchmarks.report", str(arguments.out)], check=True)


if __name__ == "__main__":
    main()
