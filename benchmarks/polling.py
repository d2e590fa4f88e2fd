"""How fast finished batches are polled, against what one process can parse of the same bytes.

`python -m benchmarks.polling --out FILE.json`: the local OpenAI server and the local S3 and DynamoDB run as
processes of their own. Per encoding and repeat, in turn: the ceiling (`parse`: the output files read from disk,
orjson and numpy, one thread), the product's poll of all batches, 50 at a time, in one process (`poll`), the same
with a folder for the bucket (`poll_into_folder`), only what it asks of OpenAI by its SDK (`ask`), and the bare
download of the same files (`download`). What is prepared is not in any time.

`ratio_wall` is a poll's rate over the ceiling's by the clock on the wall: the one that counts on a quiet
machine. `ratio_cpu` is the same by the CPU seconds of the two processes, without the servers'. On a machine of
few cores the servers take what the poll needs; `busy` says which share of the poll's time each process worked.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from benchmarks.finished_batches import ENCODINGS, Encoding, batch_ids, records, write_outputs
from benchmarks.polling_process import bucket_beside
from benchmarks.server_time import cpu_seconds
from embedding_assets.bucket.keys import delta_prefix, records_key
from embedding_assets.bucket.store import Store
from embedding_assets.databases import LINES
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets.services import Services, connect

PREPARING = 8
POLLS = ("poll", "poll_into_folder")
WORKS = ("parse", *POLLS, "ask", "download")


@dataclass(frozen=True)
class EmbeddingModel:
    """What is measured."""

    batches: int
    lines: int
    dimensions: int
    repeats: int
    encodings: tuple[Encoding, ...]


def prepare(
    stack: EmbeddedStack, services: Services, folder: Path, encoding: Encoding, asked: EmbeddingModel
) -> int:
    """Plant the batches at the server, write their rows and records; return the bytes of all output files."""
    paths = write_outputs(folder, encoding, asked.batches, asked.lines, asked.dimensions)
    names = dict(zip(batch_ids(encoding, asked.batches), paths, strict=True))
    stores = (services.store, bucket_beside(folder))
    with httpx.Client(base_url=stack.openai_url, timeout=60) as control, ThreadPoolExecutor(PREPARING) as pool:

        def plant(batch_id: str) -> str:
            body = {"id": f"openai-{batch_id}", "output": names[batch_id].read_text()}
            answer = control.post("/_control/batches", json=body)
            answer.raise_for_status()
            for store in stores:
                store.put(records_key(batch_id), records(batch_id, asked.lines))
            services.ledger.create(
                BatchSummary(
                    batch_id=batch_id,
                    openai_batch_id=f"openai-{batch_id}",
                    batch_type=LINES.batch_type,
                    status=Status.PENDING,
                    submitted_at=datetime.now(UTC),
                )
            )
            return str(answer.json()["output_file_id"])

        files = dict(zip(names, pool.map(plant, names), strict=True))
    (folder / "output-files.json").write_text(json.dumps(files))
    return sum(path.stat().st_size for path in paths)


def forget_polls(store: Store) -> None:
    """Remove what a poll wrote, so that the next one writes it again."""
    for prefix in (delta_prefix(LINES), "poll_results/"):
        store.delete([stored.key for stored in store.list(prefix)])


def measured(stack: EmbeddedStack, work: str, encoding: Encoding, folder: Path, batches: int) -> dict[str, Any]:
    """What one process figures of one piece of work, and the CPU seconds that the servers spent meanwhile."""
    before = {name: cpu_seconds(pid) for name, pid in stack.pids.items()}
    command = [sys.executable, "-m", "benchmarks.polling_process", work, encoding, str(folder), str(batches)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment(stack))
    if ended.returncode:
        sys.exit(ended.stderr)
    figures: dict[str, Any] = json.loads(ended.stdout)
    figures["server_cpu_seconds"] = {name: cpu_seconds(pid) - before[name] for name, pid in stack.pids.items()}
    figures["load_average"] = os.getloadavg()[0]
    return figures


def _environment(stack: EmbeddedStack) -> dict[str, str]:
    return {**os.environ, **stack.environment}


def summed_up(figures: dict[str, list[dict[str, Any]]], size: int, asked: EmbeddingModel) -> dict[str, Any]:
    """Medians over the repeats, and the poll against the ceiling."""
    lines = asked.batches * asked.lines
    found: dict[str, Any] = {"bytes": size, "lines": lines}
    for work, runs in figures.items():
        wall = statistics.median(run["wall_seconds"] for run in runs)
        found[work] = {
            "wall_seconds": wall,
            "cpu_seconds": statistics.median(run["cpu_seconds"] for run in runs),
            "megabytes_per_second": size / 1e6 / wall,
            "lines_per_second": lines / wall,
            "peak_megabytes": max(run["peak_megabytes"] for run in runs),
            "megabytes_before": runs[0]["megabytes_before"],
            "runs": runs,
        }
    for work in POLLS:
        for clock in ("wall", "cpu"):
            found[work][f"ratio_{clock}"] = found["parse"][f"{clock}_seconds"] / found[work][f"{clock}_seconds"]
        found[work]["busy"] = busy(figures[work])
        found[work]["bottleneck"] = max(found[work]["busy"], key=found[work]["busy"].get)
    return found


def busy(runs: list[dict[str, Any]]) -> dict[str, float]:
    """CPU seconds in a second of the poll, by process: near 1 for the one that the others wait for."""
    parts = {"poll": [run["cpu_seconds"] / run["wall_seconds"] for run in runs]}
    for name in runs[0]["server_cpu_seconds"]:
        parts[name] = [run["server_cpu_seconds"][name] / run["wall_seconds"] for run in runs]
    return {name: round(statistics.median(shares), 2) for name, shares in parts.items()}


def run(asked: EmbeddingModel) -> dict[str, Any]:
    """Prepare, measure in turns, sum up."""
    figures: dict[Encoding, dict[str, list[dict[str, Any]]]] = {
        encoding: {work: [] for work in WORKS} for encoding in asked.encodings
    }
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name, EmbeddedStack() as stack:
        os.environ.update(stack.environment)
        folder, services = Path(name), connect()
        sizes = {
            encoding: prepare(stack, services, folder / encoding, encoding, asked) for encoding in asked.encodings
        }
        for _ in range(asked.repeats):
            for encoding in asked.encodings:
                for work in WORKS:
                    found = measured(stack, work, encoding, folder / encoding, asked.batches)
                    figures[encoding][work].append(found)
                forget_polls(services.store)
                forget_polls(bucket_beside(folder / encoding))
    summary: dict[str, dict[str, Any]] = {
        encoding: summed_up(figures[encoding], sizes[encoding], asked) for encoding in asked.encodings
    }
    report: dict[str, Any] = {"asked": asdict(asked), "cores": os.cpu_count(), **summary}
    if set(ENCODINGS) <= summary.keys():
        report["base64_against_float"] = {
            "bytes": sizes["base64"] / sizes["float"],
            "poll_wall": summary["base64"]["poll"]["wall_seconds"] / summary["float"]["poll"]["wall_seconds"],
            "poll_cpu": summary["base64"]["poll"]["cpu_seconds"] / summary["float"]["poll"]["cpu_seconds"],
        }
    return report


def main() -> None:
    """Measure by the command line, write the report."""
    parser = argparse.ArgumentParser(prog="benchmarks.polling", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="file to write the report to")
    parser.add_argument("--batches", type=int, default=300)
    parser.add_argument("--per-batch", type=int, default=90, help="lines of a batch (default: %(default)s)")
    parser.add_argument("--dimensions", type=int, default=1536)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--encodings", nargs="+", choices=ENCODINGS, default=list(ENCODINGS))
    options = parser.parse_args()
    asked = EmbeddingModel(
        options.batches, options.per_batch, options.dimensions, options.repeats, tuple(options.encodings)
    )
    options.out.write_text(json.dumps(run(asked), indent=2) + "\n")


if __name__ == "__main__":
    main()
