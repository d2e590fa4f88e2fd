"""The merge of 9,000 and 27,000 embeddings: ours against the replaced design, a user's script and the floor."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.measure import machine
from benchmarks.merging.compare import compare
from benchmarks.merging.worker import WAYS

DIMENSIONS = 1536


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=[9_000, 27_000])
    arguments = parser.parse_args()
    figures = {
        "machine": machine(),
        "results": [compare(count, DIMENSIONS, WAYS, arguments.repeats) for count in arguments.sizes],
    }
    arguments.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
