"""What an execution of 2,000 records costs a Chroma server that holds few records, and one that holds many.

`python -m benchmarks.targets --out FILE.json`, with `--sizes 10000 30000 100000 300000` as defaults.

For each size: a version of so many records of 384 dimensions, the first write of all of them to a real `chroma
run`, then two executions that add 1,000 records and replace 1,000, and what they take: the merges, which write
a whole index to S3, and the target, which gets what changed. Records that the server is given and takes away
are counted in its client. Seconds of processors say more than those of the clock if other programs run on the
machine. `peak_mb` is the most that the process had resident so far, so give one size alone to know its own.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.filled import place, put_rows
from benchmarks.measure import machine, measured, memory_kb, progress
from benchmarks.merging.deltas import put_deltas
from benchmarks.records import Records, make_records
from benchmarks.server_time import cpu_seconds
from embedding_assets.chroma.collection import ChromaRows
from embedding_assets.chroma.server import ServerCollection
from embedding_assets.databases import LINES
from embedding_assets.executions.intermediate import IntermediateSnapshots
from embedding_assets.executions.plan import Intermediate, split_chunks
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets.services import Services
from embedding_assets.settings import load_settings
from embedding_assets_tests.targets.server import ChromaServer

DIMENSIONS = 384
PER_BATCH = 10_000
CHANGED = 1_000
"""Records that the measured execution adds, and as many that it replaces."""


def main() -> None:
    """Measure every size, write the figures after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 30_000, 100_000, 300_000])
    options = parser.parse_args()
    results: list[dict[str, Any]] = []
    with EmbeddedStack() as stack, chroma_server() as server:
        os.environ.update(stack.environment)
        for size in options.sizes:
            with place(stack) as names:
                os.environ.update(names)
                os.environ["EMBEDDING_ASSETS_TARGETS"] = f"far={server.url(server.new_database())}"
                results.append(measure(Services(load_settings()), server, size))
            options.out.write_text(json.dumps({"machine": machine(), "results": results}, indent=1) + "\n")
            progress(json.dumps(results[-1]))


@contextmanager
def chroma_server() -> Iterator[ChromaServer]:
    """A server on this machine with nothing in it."""
    with tempfile.TemporaryDirectory(prefix="benchmark-chroma-") as folder:
        server = ChromaServer(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.kill()


def measure(services: Services, server: ChromaServer, size: int) -> dict[str, Any]:
    """One size. RuntimeError if the target does not hold what is published, or was given too much."""
    with measured() as built:
        publish(services, make_records(size, DIMENSIONS), 0, size // PER_BATCH)
    filled = synced(services, server)
    new = make_records(CHANGED, DIMENSIONS, seed=1, first=size)
    replaced = make_records(CHANGED, DIMENSIONS, seed=1)
    with measured() as merged:
        for number, records in enumerate((new, replaced)):
            publish(services, records, 1_000 + number, 1)
    synced_again = synced(services, server)
    if synced_again["added"] > 1.05 * 2 * CHANGED:
        raise RuntimeError(f"{synced_again['added']} records were written for {2 * CHANGED} that changed")
    [target] = services.targets
    with measured() as verified:
        found = services.verify_target(LINES, target)
    if not found.ok:
        raise RuntimeError(f"the target is not what is published: {found.problems}")
    first = {f"first_{name}": value for name, value in filled.items()}
    costs = {
        "build_seconds": built.wall,
        "build_cpu": built.cpu,
        "merge_seconds": merged.wall,
        "merge_cpu": merged.cpu,
        "verify_seconds": verified.wall,
        "verify_cpu": verified.cpu,
    }
    peaks = {"client_peak_mb": peak_mb(os.getpid()), "server_peak_mb": peak_mb(server.pid)}
    disk = {"server_disk_mb": megabytes(server.folder)}
    return {"records": size, **costs, **first, **synced_again, **peaks, **disk}


def peak_mb(process: int) -> int:
    """The most that a process had resident so far."""
    return round(memory_kb(process)["VmHWM"] / 1024)


def megabytes(folder: Path) -> int:
    """What all files below a folder have."""
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20)


def synced(services: Services, server: ChromaServer) -> dict[str, Any]:
    """Bring the target to what is published: seconds, those of client and server, and what was written."""
    counted: Counter[str] = Counter()
    [target] = services.targets
    before = cpu_seconds(server.pid)
    with counting(counted), measured() as cost:
        services.target_sync(LINES, target, lambda line: None).bring()
    cpu = {"client_cpu": cost.cpu, "server_cpu": round(cpu_seconds(server.pid) - before, 2)}
    return {"seconds": cost.wall, **cpu, **{name: counted[name] for name in ("added", "deleted")}}


@contextmanager
def counting(counted: Counter[str]) -> Iterator[None]:
    """Count the records of each call that adds or deletes."""
    add, delete = ServerCollection.add, ServerCollection.delete

    def counted_add(self: ServerCollection, rows: ChromaRows) -> None:
        counted["added"] += len(rows.ids)
        add(self, rows)

    def counted_delete(self: ServerCollection, ids: Any) -> None:
        counted["deleted"] += len(ids)
        delete(self, ids)

    patched: Any = ServerCollection
    patched.add, patched.delete = counted_add, counted_delete
    try:
        yield
    finally:
        patched.add, patched.delete = add, delete


def publish(services: Services, records: Records, first: int, batches: int) -> None:
    """Publish the records as an execution of so many batches."""
    results = put_deltas(services.store, records, batches, "arrow", first)
    put_rows(services.settings.table_name, [result.batch_id for result in results])
    execution_id = f"20260102T120000Z-{first:08x}"
    merger = services.intermediate_merger(LINES)
    merged = tuple(merger.merge_chunk(chunk) for chunk in split_chunks(execution_id, results, 10))
    parts = tuple(Intermediate(intermediate_key=part.intermediate_key) for part in merged)
    snapshots = IntermediateSnapshots(execution_id=execution_id, intermediates=parts, chunks=merged)
    services.final_merger(LINES, lambda line: None).merge(results, snapshots)


if __name__ == "__main__":
    main()
