"""What one planning tick costs over a long backlog: the sensor's own function, most rows not ready at OpenAI.

`python -m benchmarks.planning --out FILE.json`, with `--rows 1500 10000` as defaults. Each backlog has a process
of its own that ticks twice: the first time Dagster learns of all partitions, the second time it knows them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.filled import completed, place, plant, put_rows
from benchmarks.slowdown import slowdown
from embedding_assets.local.stack import EmbeddedStack

READY = 20
RECORDS = 5
SECONDS = 300

Tick = dict[str, Any]


def main() -> None:
    """Measure every backlog, print the table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the figures")
    parser.add_argument("--rows", type=int, nargs="+", default=[1500, 10000])
    options = parser.parse_args()
    ticks: list[Tick] = []
    with EmbeddedStack() as stack:
        os.environ.update(stack.environment)
        for rows in options.rows:
            ticks += measure(stack, rows)
            options.out.write_text(json.dumps(ticks, indent=2))
    Console(width=160).print(table(ticks))


def measure(stack: EmbeddedStack, rows: int) -> list[Tick]:
    """The ticks over so many rows, 20 of them ready."""
    batch_ids = [f"b{number:05}" for number in range(rows)]
    ready = set(batch_ids[:: rows // READY][:READY])
    plant(
        stack.openai_url,
        batch_ids,
        lambda batch_id: completed(batch_id, RECORDS) if batch_id in ready else {"status": "in_progress"},
    )
    with place(stack) as names:
        put_rows(names["DYNAMODB_TABLE_NAME"], batch_ids)
        servers = [str(stack.pids["aws_server"]), str(stack.pids["openai_server"])]
        command = [sys.executable, "-m", "benchmarks.measured_tick", *servers]
        environment = {**os.environ, **names}
        load, slowed = os.getloadavg()[0], slowdown()
        done = subprocess.run(command, env=environment, capture_output=True, timeout=SECONDS, text=True)
        if done.returncode:
            raise RuntimeError(f"the tick failed: {done.stderr}")
        ticks = [json.loads(line) for line in done.stdout.splitlines()]
    if ticks[0]["planned"] != READY:
        raise RuntimeError(f"{ticks[0]['planned']} batches were planned, not {READY}")
    return [
        {"rows": rows, **tick, "load_before": round(load, 2), "slowdown_before": round(slowed, 2)}
        for tick in ticks
    ]


def table(ticks: list[Tick]) -> Table:
    """Figures and calls down, ticks across."""
    flat = [
        {**{name: value for name, value in tick.items() if name != "calls"}, **tick["calls"]} for tick in ticks
    ]
    shown = Table("", *(f"{tick['rows']} rows, {tick['tick']} tick" for tick in ticks))
    for name in dict.fromkeys(name for tick in flat for name in tick if name not in ("rows", "tick")):
        shown.add_row(name.replace("_", " "), *(str(tick.get(name, 0)) for tick in flat))
    return shown


if __name__ == "__main__":
    main()
