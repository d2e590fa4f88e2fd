"""`embedding-assets ingest --database lines`, timed: the process that `benchmarks.orchestration` starts."""

from __future__ import annotations

import sys
from typing import Any

from dagster import build_reconstructable_job

from benchmarks import stopwatch
from embedding_assets.cli.main import run
from embedding_assets.orchestration import ingest


def job_with_stopwatch(module: str, function: str, arguments: tuple[Any, ...]) -> Any:
    """The job as `ingest` asks for it, loaded through the stopwatch in every process of the run."""
    return build_reconstructable_job(stopwatch.__name__, "load_job", arguments)


if __name__ == "__main__":
    stopwatch.install()
    vars(ingest)["build_reconstructable_job"] = job_with_stopwatch
    sys.argv = ["embedding-assets", "ingest", "--database", "lines", "--json"]
    run()
