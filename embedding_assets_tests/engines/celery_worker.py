"""A worker of Celery as a deployment starts it, except that small executions have a step for each chunk.

`python -m …celery_worker NAME [hang]`: the file `merged` of the working directory has a line for each chunk
that it merged. With `hang`, merging never ends.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from celery.__main__ import main

from embedding_assets.executions import hierarchy
from embedding_assets.executions.intermediate import IntermediateMerger, MergedIntermediate
from embedding_assets.executions.plan import Chunk

APP = "embedding_assets.dagster_defs.runs.celery_app"


def run(name: str, hang: bool) -> None:
    """Run a worker until it is killed."""
    vars(hierarchy)["SMALL_UP_TO"] = 0
    merge = IntermediateMerger.merge_chunk

    def noted(merger: IntermediateMerger, chunk: Chunk) -> MergedIntermediate:
        if hang:
            Path("hangs").write_text(str(chunk.chunk_index))
            time.sleep(10_000)
        merged = merge(merger, chunk)
        with Path("merged").open("a") as file:
            file.write(f"{chunk.chunk_index}\n")
        return merged

    for name_of, method in {"merge_chunk": noted}.items():
        setattr(IntermediateMerger, name_of, method)
    sys.argv = ["celery", "--app", APP, "worker", "--pool", "solo", "--queues", "dagster"]
    sys.argv += ["--hostname", f"{name}@here", "--without-gossip", "--without-mingle", "--loglevel", "WARNING"]
    main()


if __name__ == "__main__":
    run(sys.argv[1], hang=len(sys.argv) > 2)
