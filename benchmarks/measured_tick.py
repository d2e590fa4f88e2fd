"""Ticks of `lines_pending_batches`, measured: the process that `benchmarks.planning` starts.

`python -m benchmarks.measured_tick AWS_SERVER_PID OPENAI_SERVER_PID` prints one line of JSON for each tick.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import botocore.client
import dagster as dg
import httpx

from embedding_assets.dagster_defs.resources import SERVICES, ServicesResource
from embedding_assets.definitions import defs
from embedding_assets.executions.manifest import read_manifest

SENSOR = "lines_pending_batches"
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")

calls: Counter[str] = Counter()


def count_calls() -> None:
    """Count what boto3 is asked for."""
    client: Any = botocore.client.BaseClient
    made = client._make_api_call

    def counted(self: Any, operation: str, *rest: Any) -> Any:
        calls[f"{self.meta.service_model.service_name} {operation}"] += 1
        return made(self, operation, *rest)

    client._make_api_call = counted


def server_cpu(pid: int) -> float:
    """Processor seconds of another process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def requests(control: httpx.Client) -> dict[str, int]:
    """What the OpenAI server was asked for, by route."""
    return {
        f"OpenAI {route}": counted["requests"]
        for route, counted in control.get("/_control/counters").json().items()
    }


def tick(instance: dg.DagsterInstance, cursor: str | None) -> Any:
    """Evaluate the sensor as the daemon does."""
    with dg.build_resources({SERVICES: ServicesResource()}, instance=instance) as built:
        context = dg.build_sensor_context(
            instance=instance,
            instance_ref=instance.get_ref(),
            cursor=cursor,
            resources={SERVICES: built.embedding_services},
            definitions=defs,
        )
        return defs.resolve_sensor_def(SENSOR).evaluate_tick(context)


def main(aws_pid: int, openai_pid: int) -> None:
    """Two ticks: the first makes all partitions known, the second finds them known."""
    count_calls()
    openai = os.environ["OPENAI_BASE_URL"].removesuffix("/v1")
    with dg.DagsterInstance.get() as instance, httpx.Client(base_url=openai) as control:
        cursor = None
        for name in ("first", "second"):
            calls.clear()
            control.post("/_control/counters/reset").raise_for_status()
            servers = server_cpu(aws_pid), server_cpu(openai_pid)
            wall, own = time.perf_counter(), time.process_time()
            data = tick(instance, cursor)
            figures = {
                "wall_seconds": round(time.perf_counter() - wall, 2),
                "cpu_seconds": round(time.process_time() - own, 2),
                "cpu_seconds_of_the_S3_and_DynamoDB_server": round(server_cpu(aws_pid) - servers[0], 2),
                "cpu_seconds_of_the_OpenAI_server": round(server_cpu(openai_pid) - servers[1], 2),
                "calls": {**dict(sorted(calls.items())), **requests(control)},
            }
            cursor = data.cursor
            (request,) = data.run_requests or []
            store = ServicesResource().services.store
            planned = read_manifest(store, request.partition_key).total_batches
            sys.stdout.write(json.dumps({"tick": name, "planned": planned, **figures}) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
