"""Many finished batches in Dagster: what a tick and an asset's page cost before and after they are retired.

`python -m benchmarks.retirement --out FILE.json`, with `--batches 10000` as default.

Each batch is a COMPLETED row of the table, a partition, and two events in Dagster's SQLite storage. `page` is
what an asset's page asks the storage: the partitions of the asset, and which of them are materialized. Seconds
are those of this process's processor.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from benchmarks.filled import place
from benchmarks.measure import machine, progress
from embedding_assets.bucket.aws import dynamodb_client
from embedding_assets.databases import LINES
from embedding_assets.local.stack import EmbeddedStack

ROWS_AT_ONCE = 25
PARTITIONS_AT_ONCE = 10_000
ENDED = "2026-01-02T12:00:00Z"
SENSOR = "lines_pending_batches"


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
            figures = measure([f"b{number:06}" for number in range(options.batches)])
    options.out.write_text(json.dumps({"machine": machine(), **figures}, indent=1) + "\n")
    progress(json.dumps(figures))


def measure(batch_ids: list[str]) -> dict[str, Any]:
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
        before = looked(instance)
        seconds, retired = timed(lambda: retire(services, instance, LINES, datetime.now(UTC), timedelta(days=30)))
        if retired.batches != len(batch_ids):
            raise RuntimeError(f"{retired.batches} of {len(batch_ids)} batches were retired")
        after = looked(instance)
    return {
        "batches": len(batch_ids),
        "before": before,
        "after": after,
        "retire_cpu": seconds,
        "retired": asdict(retired),
    }


def looked(instance: dg.DagsterInstance) -> dict[str, Any]:
    """Processor seconds of a tick and of what a page asks."""
    tick_seconds, _ = timed(lambda: tick(instance))
    page_seconds, known = timed(lambda: page(instance))
    return {"partitions": known, "tick_cpu": tick_seconds, "page_cpu": page_seconds}


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


def page(instance: dg.DagsterInstance) -> int:
    """How many partitions the page of `lines/batches` has."""
    known = set(instance.get_dynamic_partitions("lines_batches"))
    instance.get_materialized_partitions(dg.AssetKey(["lines", "batches"]))
    return len(known)


def timed(do: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds of this process, and what it gives."""
    started = time.process_time()
    done = do()
    return round(time.process_time() - started, 2), done


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
