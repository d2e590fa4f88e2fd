"""What `embedding-assets ingest` costs beside polling, merging and transferring: seconds by stage.

`python -m benchmarks.orchestration --out FILE.json`, with `--batches 1 30 300` and
`--executors in_process multiprocess` as defaults. Every cell is a process of its own, against local servers, with
a new Dagster home: what it takes to load the code and to make Dagster's databases is in it. `servers` tells, by
stage, what of the time the local servers' own processors took.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from dagster import DagsterInstance
from rich.console import Console
from rich.table import Table

from benchmarks.filled import completed, place, plant, put_rows
from benchmarks.server_time import ServerTime
from benchmarks.slowdown import slowdown
from benchmarks.stopwatch import SPANS_FILE
from benchmarks.timeline import WORK, Span, stages, steps_of
from embedding_assets.local.stack import EmbeddedStack

RECORDS = 5
"""Records of a batch: so few that polling and merging are small."""
SECONDS = 300
"""What a cell may take."""

Cell = dict[str, Any]


def main() -> None:
    """Measure every cell, print the table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the figures")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 30, 300])
    parser.add_argument("--executors", nargs="+", default=["in_process", "multiprocess"])
    options = parser.parse_args()
    with EmbeddedStack() as stack:
        os.environ.update(stack.environment)
        cells = []
        for executor in options.executors:
            for batches in options.batches:
                cells.append(measure(stack, batches, executor))
                options.out.write_text(json.dumps(cells, indent=2))
    Console(width=160).print(table(cells))


def measure(stack: EmbeddedStack, batches: int, executor: str) -> Cell:
    """One ingest of so many ready batches; seconds by stage."""
    batch_ids = [f"b{number:05}" for number in range(batches)]
    plant(stack.openai_url, batch_ids, lambda batch_id: completed(batch_id, RECORDS))
    with place(stack) as names, tempfile.TemporaryDirectory(prefix="embedding-assets-benchmark-") as folder:
        put_rows(names["DYNAMODB_TABLE_NAME"], batch_ids)
        spans_file = Path(folder) / "spans.jsonl"
        environment = {
            **os.environ,
            **names,
            "EMBEDDING_ASSETS_EXECUTOR": executor,
            SPANS_FILE: str(spans_file),
        }
        load, slowed = os.getloadavg()[0], slowdown()
        cpu_before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.time()
        command = [sys.executable, "-m", "benchmarks.measured_ingest"]
        with ServerTime(stack.pids.values()) as servers:
            done = subprocess.run(command, env=environment, capture_output=True, timeout=SECONDS, text=True)
        cpu_after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode or len(json.loads(done.stdout)["marked"]) != batches:
            raise RuntimeError(f"the ingest failed: {done.stdout}{done.stderr}")
        spans = [Span(**json.loads(line)) for line in spans_file.read_text().splitlines()]
        with DagsterInstance.from_config(names["DAGSTER_HOME"]) as instance:
            (run,) = instance.get_runs()
            steps = steps_of(instance, run.run_id)
    found = stages(began, spans, steps)
    served = stages(began, spans, steps, servers.between)
    work = sum(found.get(name, 0.0) for name in WORK)
    return {
        "executor": executor,
        "batches": batches,
        "load_before": round(load, 2),
        "slowdown_before": round(slowed, 2),
        "wall": round(sum(found.values()), 3),
        "work": round(work, 3),
        "overhead": round(sum(found.values()) - work, 3),
        "cpu": round(cpu_after.ru_utime + cpu_after.ru_stime - cpu_before.ru_utime - cpu_before.ru_stime, 3),
        "overhead_of_servers": round(sum(served[name] for name in served if name not in WORK), 3),
        "stages": {name: round(seconds, 3) for name, seconds in found.items()},
        "servers": {name: round(seconds, 3) for name, seconds in served.items()},
    }


def table(cells: list[Cell]) -> Table:
    """Stages down, cells across, seconds."""
    shown = Table("stage", *(f"{cell['executor']} {cell['batches']}" for cell in cells))
    names = dict.fromkeys(name for cell in reversed(cells) for name in cell["stages"] if name not in WORK)

    def row(name: str, values: list[float]) -> None:
        shown.add_row(name, *(f"{value:.2f}" for value in values))

    for name in names:
        row(name, [cell["stages"].get(name, 0.0) for cell in cells])
    shown.add_section()
    row("overhead in all", [cell["overhead"] for cell in cells])
    row("of it, processors of the servers", [cell["overhead_of_servers"] for cell in cells])
    for name in WORK:
        row(f"work: {name}", [cell["stages"].get(name, 0.0) for cell in cells])
    row("wall", [cell["wall"] for cell in cells])
    row("CPU of all processes", [cell["cpu"] for cell in cells])
    row("load before", [cell["load_before"] for cell in cells])
    row("slowdown before", [cell["slowdown_before"] for cell in cells])
    return shown


if __name__ == "__main__":
    main()
