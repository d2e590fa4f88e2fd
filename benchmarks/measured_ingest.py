"""`embedding-assets ingest --database lines`, timed: the process that `benchmarks.orchestration` starts."""

from __future__ import annotations

import gc
import sys
from typing import Any

from embedding_assets import command


def job_with_stopwatch(module: str, function: str, arguments: tuple[Any, ...]) -> Any:
    """The job as `ingest` asks for it, loaded through the stopwatch in every process of the run."""
    from dagster import build_reconstructable_job

    from benchmarks import stopwatch

    return build_reconstructable_job(stopwatch.__name__, "load_job", arguments)


def main() -> None:
    """Run the command as its console script does, which also loads everything before it collects garbage."""
    gc.disable()
    from benchmarks import stopwatch
    from embedding_assets.dagster_defs.runs import ingest

    stopwatch.install()
    vars(ingest)["build_reconstructable_job"] = job_with_stopwatch
    sys.argv = ["embedding-assets", "ingest", "--database", "lines", "--json"]
    command.run()


if __name__ == "__main__":
    main()
