"""One measured process: polls all batches of an encoding, or only parses the same bytes, or only downloads them.

`python -m benchmarks.polling_process WORK ENCODING FOLDER BATCHES`: WORK is `poll`, `poll_into_folder`, `parse`,
`ask` or `download`. Prints one JSON object. Wall and CPU seconds are those of the work in this process, without
imports and servers.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import orjson

from benchmarks.finished_batches import Encoding, batch_ids
from benchmarks.merging.deltas import folder_store
from embedding_assets.bucket.store import Store
from embedding_assets.databases import LINES
from embedding_assets.errors import ConservationError
from embedding_assets.executions.plan import ExecutionManifest, PlannedBatch
from embedding_assets.executions.poll import ExecutionPoller
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.services import connect

EXECUTION = "20260102T120000Z-00000001"
BLOCK = 1 << 20


def parse(encoding: Encoding, folder: Path, batches: int) -> int:
    """The ceiling: orjson and numpy over every line, one thread, nothing kept; returns the lines."""
    lines = 0
    for batch_id in batch_ids(encoding, batches):
        with (folder / f"{batch_id}.jsonl").open("rb") as stream:
            for line in stream:
                delivered = orjson.loads(line)["response"]["body"]["data"][0]["embedding"]
                if encoding == "float":
                    np.array(delivered, dtype=np.float64).astype(np.float32)
                else:
                    np.frombuffer(base64.b64decode(delivered), dtype="<f4").astype(np.float32)
                lines += 1
    return lines


def poll(encoding: Encoding, batches: int, poller: ExecutionPoller) -> int:
    """The product's own poll of an execution; returns how many embeddings it wrote."""
    planned = tuple(
        PlannedBatch(index=index, batch_id=batch_id, openai_batch_id=f"openai-{batch_id}")
        for index, batch_id in enumerate(batch_ids(encoding, batches))
    )
    manifest = ExecutionManifest(
        execution_id=EXECUTION,
        database=LINES.name,
        created_at="2026-01-02T12:00:00Z",
        total_batches=batches,
        batches=planned,
    )
    results = poller.poll(manifest, lambda row, result: None)
    wrong = [result for result in results if result.action != "process_results"]
    if wrong:
        raise ConservationError(f"{len(wrong)} batches did not come through; the first: {wrong[0].message}")
    return sum(result.embedding_count for result in results)


def download(encoding: Encoding, folder: Path, batches: int) -> int:
    """Only the bytes, as fast as a bare client gets them, thrown away; returns how many there were."""
    address = urlsplit(os.environ["OPENAI_BASE_URL"])
    names = json.loads((folder / "output-files.json").read_text())

    def one(batch_id: str) -> int:
        connection = http.client.HTTPConnection(address.hostname or "", address.port or 80)
        connection.request("GET", f"/v1/files/{names[batch_id]}/content")
        response, buffer, size = connection.getresponse(), bytearray(BLOCK), 0
        while count := response.readinto(buffer):
            size += count
        connection.close()
        return size

    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(one, batch_ids(encoding, batches)))


def ask(encoding: Encoding, folder: Path, batches: int, openai: OpenAIBatches) -> int:
    """Only what is asked of OpenAI by its SDK: each batch and its output file; returns how many batches."""

    def one(batch_id: str) -> None:
        remote = openai.retrieve(f"openai-{batch_id}")
        openai.download(str(remote.output_file_id), folder / f"{batch_id}.asked")

    with ThreadPoolExecutor(8) as pool:
        return len(list(pool.map(one, batch_ids(encoding, batches))))


def bucket_beside(folder: Path) -> Store:
    """The bucket as a folder, beside the output files: what S3's client and its server cost is left out."""
    return folder_store(folder / "buckets")


def prepared(work: str, encoding: Encoding, folder: Path, batches: int) -> Callable[[], int]:
    """The piece of work, ready to begin: a run has its clients of S3 and DynamoDB before it polls."""
    if work == "poll":
        return partial(poll, encoding, batches, connect().execution_poller(LINES))
    if work == "poll_into_folder":
        services = connect()
        vars(services)["store"] = bucket_beside(folder)
        return partial(poll, encoding, batches, services.execution_poller(LINES))
    if work == "ask":
        return partial(ask, encoding, folder, batches, connect().openai)
    return partial({"parse": parse, "download": download}[work], encoding, folder, batches)


def resident_megabytes(name: str) -> float:
    """`VmHWM`, the most that this process ever held, or `VmRSS`, what it holds now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) / 1024


def main(arguments: Sequence[str]) -> None:
    """Do one piece of work, and print what it took."""
    work, encoding, folder, batches = arguments
    begin = prepared(work, "base64" if encoding == "base64" else "float", Path(folder), int(batches))
    before = resident_megabytes("VmRSS")
    used = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    done = begin()
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    measured = {
        "done": done,
        "wall_seconds": wall,
        "cpu_seconds": after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime,
        "user_seconds": after.ru_utime - used.ru_utime,
        "peak_megabytes": resident_megabytes("VmHWM"),
        "megabytes_before": before,
    }
    sys.stdout.write(json.dumps(measured) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
