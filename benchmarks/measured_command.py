"""One command of `embedding-assets`, timed: the process that `benchmarks.importing` starts.

`python -m benchmarks.measured_command ARGUMENTS…` prints one line of JSON after what the command prints.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from benchmarks.measure import measured
from embedding_assets.cli.main import run


def main() -> None:
    """Run the command as its console script does. Leaves with its exit code if that is not 0."""
    sys.argv[0] = "embedding-assets"
    with measured() as cost:
        try:
            run()
        except SystemExit as ended:
            if ended.code:
                raise
    print(json.dumps(asdict(cost)))  # noqa: T201


if __name__ == "__main__":
    main()
