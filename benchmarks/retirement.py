"""Many finished batches in Dagster: what a tick and an asset's page cost before and after they are retired.

`python -m benchmarks.retirement --out FILE.json`, with `--batches 10000` as default.

Each batch is a COMPLETED row of the table, a partition, and two events in Dagster's SQLite storage. `page` is the
query that the page of `lines/batches` sends to Dagster's webserver, a process of its own: every partition, and
which of them are materialized, at first and once again. A tick is the second one that a process evaluates: the
first has read Dagster's and botocore's own files. `seconds` are those of the clock, `cpu` those of the processor
of this process or of the webserver, `aws_cpu` those of the embedded S3 and DynamoDB meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import httpx

from benchmarks.filled import place
from benchmarks.measure import machine, progress
from benchmarks.server_time import cpu_seconds
from embedding_assets.bucket.aws import dynamodb_client
from embedding_assets.databases import LINES
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.seaweed import HOST, free_ports

ROWS_AT_ONCE = 25
PARTITIONS_AT_ONCE = 10_000
ENDED = "2026-01-02T12:00:00Z"
SENSOR = "lines_pending_batches"
START_SECONDS = 300
QUERY = """
query PartitionHealthQuery($assetKey: AssetKeyInput!) {
  assetNodeOrError(assetKey: $assetKey) {
    ... on AssetNode {
      partitionKeysByDimension { name type partitionKeys }
      assetPartitionStatuses {
        ... on DefaultPartitionStatuses { materializedPartitions materializingPartitions failedPartitions }
      }
    }
  }
}
"""
"""What the page of an asset asks about its partitions (dagster-webserver 1.13), of the kind that ours are."""


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--batches", type=int, default=10_000)
    options = parser.parse_args()
    with EmbeddedStack() as stack:
        os.environ.update(stack.environment)
        with place(stack) as names:
            os.environ.update(names)
            batch_ids = [f"b{number:06}" for number in range(options.batches)]
            figures = measure(batch_ids, stack.pids["aws_server"])
    options.out.write_text(json.dumps({"machine": machine(), **figures}, indent=1) + "\n")
    progress(json.dumps(figures))


def measure(batch_ids: list[str], aws_pid: int) -> dict[str, Any]:
    """Fill table and Dagster, look, retire, look again."""
    from embedding_assets.dagster_defs.resources import ServicesResource
    from embedding_assets.dagster_defs.runs.event_batches import report_together
    from embedding_assets.dagster_defs.runs.retirement import retire

    put_completed(os.environ["DYNAMODB_TABLE_NAME"], batch_ids)
    services = ServicesResource().services
    with dg.DagsterInstance.get() as instance:
        for start in range(0, len(batch_ids), PARTITIONS_AT_ONCE):
            some = batch_ids[start : start + PARTITIONS_AT_ONCE]
            instance.add_dynamic_partitions("lines_batches", some)
            for asset in ("batches", "poll_results"):
                report_together(
                    instance, [dg.AssetMaterialization(["lines", asset], partition=one) for one in some]
                )
        tick(instance)
        before = looked(instance, aws_pid, len(batch_ids))
        progress(json.dumps(before))
        cost, retired = timed(
            lambda: retire(services, instance, LINES, datetime.now(UTC), timedelta(days=30)), aws_pid
        )
        if retired.batches != len(batch_ids):
            raise RuntimeError(f"{retired.batches} of {len(batch_ids)} batches were retired")
        after = looked(instance, aws_pid, 0)
    return {
        "batches": len(batch_ids),
        "before": before,
        "after": after,
        "retirement": cost,
        "retired": asdict(retired),
    }


def looked(instance: dg.DagsterInstance, aws_pid: int, partitions: int) -> dict[str, Any]:
    """What a tick costs, and a page. RuntimeError if the page does not show so many partitions."""
    tick_cost, _ = timed(lambda: tick(instance), aws_pid)
    with webserver() as (client, pid):
        pages = {name: page(client, pid, partitions) for name in ("page", "page_again")}
    return {"partitions": partitions, "tick": tick_cost, **pages}


@contextmanager
def webserver() -> Iterator[tuple[httpx.Client, int]]:
    """Dagster's webserver on this instance, as soon as it has the definitions: a client, and its process."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "dagster_webserver", "-m", "embedding_assets.definitions"]
    command += ["-h", HOST, "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://{HOST}:{port}", timeout=START_SECONDS) as client:
            until = time.monotonic() + START_SECONDS
            while not answers(client):
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError("the webserver does not answer")
                time.sleep(0.2)
            yield client, process.pid
    finally:
        process.terminate()
        process.wait()


def answers(client: httpx.Client) -> bool:
    """Whether it is there."""
    try:
        return client.get("/server_info").is_success
    except httpx.TransportError:
        return False


def tick(instance: dg.DagsterInstance) -> None:
    """Evaluate the sensor as the daemon does."""
    from embedding_assets.dagster_defs.resources import SERVICES, ServicesResource
    from embedding_assets.definitions import defs

    with dg.build_resources({SERVICES: ServicesResource()}, instance=instance) as built:
        context = dg.build_sensor_context(
            instance=instance,
            instance_ref=instance.get_ref(),
            resources={SERVICES: built.embedding_services},
            definitions=defs,
        )
        defs.resolve_sensor_def(SENSOR).evaluate_tick(context)


def page(client: httpx.Client, pid: int, partitions: int) -> dict[str, float]:
    """What the page of `lines/batches` costs the webserver."""
    variables = {"assetKey": {"path": ["lines", "batches"]}}
    started, cpu = time.perf_counter(), cpu_seconds(pid)
    answer = client.post("/graphql", json={"query": QUERY, "variables": variables}).json()
    cost = {"seconds": time.perf_counter() - started, "cpu": cpu_seconds(pid) - cpu}
    node = answer["data"]["assetNodeOrError"]
    [dimension] = node["partitionKeysByDimension"]
    shown = len(dimension["partitionKeys"]), len(node["assetPartitionStatuses"]["materializedPartitions"])
    if shown != (partitions, partitions):
        raise RuntimeError(f"{shown} partitions and materialized ones are shown, not {partitions}")
    return {name: round(value, 2) for name, value in cost.items()}


def timed(do: Callable[[], Any], aws_pid: int) -> tuple[dict[str, float], Any]:
    """What it costs, and what it gives."""
    started = time.perf_counter(), time.process_time(), cpu_seconds(aws_pid)
    done = do()
    ended = time.perf_counter(), time.process_time(), cpu_seconds(aws_pid)
    spent = [round(end - start, 2) for start, end in zip(started, ended, strict=True)]
    return dict(zip(("seconds", "cpu", "aws_cpu"), spent, strict=True)), done


def put_completed(table: str, batch_ids: list[str]) -> None:
    """COMPLETED rows of lines that ended long ago."""
    client = dynamodb_client()
    for start in range(0, len(batch_ids), ROWS_AT_ONCE):
        requests: list[Any] = [
            {"PutRequest": {"Item": {name: {"S": value} for name, value in completed_row(batch_id).items()}}}
            for batch_id in batch_ids[start : start + ROWS_AT_ONCE]
        ]
        if client.batch_write_item(RequestItems={table: requests})["UnprocessedItems"]:
            raise RuntimeError("the table took not every row")


def completed_row(batch_id: str) -> dict[str, str]:
    """One row."""
    return {
        "PK": f"BATCH#{batch_id}",
        "SK": "STATUS",
        "GSI1PK": "STATUS#COMPLETED",
        "GSI1SK": f"BATCH_TYPE#{LINES.batch_type}#BATCH_ID#{batch_id}",
        "TYPE": "BATCH_SUMMARY",
        "batch_id": batch_id,
        "openai_batch_id": f"openai-{batch_id}",
        "batch_type": LINES.batch_type,
        "status": "COMPLETED",
        "submitted_at": ENDED,
        "completed_at": ENDED,
    }


if __name__ == "__main__":
    main()
