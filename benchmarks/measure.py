"""What a piece of work cost: wall clock, processor time, bytes written, peak memory of its process."""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

SAMPLE_SECONDS = 0.02
PACKAGES = ("chromadb", "hnswlib", "numpy", "pyarrow", "orjson", "dagster", "boto3", "openai", "moto")


@dataclass
class Cost:
    """Of one piece of work: seconds by the clock and of all processors, bytes handed to the disk."""

    wall: float = 0.0
    cpu: float = 0.0
    written: int = 0


def _cpu() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def _written() -> int:
    try:
        text = Path("/proc/self/io").read_text()
    except OSError:
        return 0
    return int(dict(line.split(": ") for line in text.splitlines())["write_bytes"])


@contextmanager
def measured() -> Iterator[Cost]:
    """What happens inside, in this process and its children."""
    cost = Cost()
    before = (time.perf_counter(), _cpu(), _written())
    yield cost
    cost.wall = round(time.perf_counter() - before[0], 3)
    cost.cpu = round(_cpu() - before[1], 3)
    cost.written = _written() - before[2]


def run_worker(module: str, arguments: Sequence[str], *, children: bool = False) -> dict[str, Any]:
    """Run a module as a process of its own; the JSON that it prints last, and its peak memory in MB.

    `peak_mb` is the most that was resident, `peak_anonymous_mb` without pages of files, which the system may
    drop at any time. With `children` that of its children at the same moment is added.
    """
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        peak, anonymous = 0, 0
        while process.poll() is None:
            sampled = [process.pid, *(_children(process.pid) if children else ())]
            statuses = [memory_kb(one) for one in sampled]
            peak = max(peak, sum(status.get("VmRSS", 0) for status in statuses))
            anonymous = max(anonymous, sum(status.get("RssAnon", 0) for status in statuses))
            time.sleep(SAMPLE_SECONDS)
        output = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    printed: dict[str, Any] = json.loads(output.splitlines()[-1])
    return printed | {"peak_mb": round(peak / 1024), "peak_anonymous_mb": round(anonymous / 1024)}


def _children(process: int) -> list[int]:
    """The processes that it started and that live; none where the system has no such file."""
    try:
        return [
            int(child)
            for path in Path(f"/proc/{process}/task").glob("*/children")
            for child in path.read_text().split()
        ]
    except OSError:
        return []


def memory_kb(process: int) -> dict[str, int]:
    """Kilobytes by name, of `/proc/{process}/status`; empty where the system has no such file."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return {}
    return {
        name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines) if "kB" in rest
    }


def medians(runs: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The median of each figure that all runs have."""
    numbers = [name for name, value in runs[0].items() if isinstance(value, int | float)]
    names = [name for name in numbers if all(name in run for run in runs)]
    return {name: round(statistics.median(run[name] for run in runs), 3) for name in names}


def progress(line: str) -> None:
    """Tell how far it is, on stderr."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def machine() -> dict[str, Any]:
    """What a figure depends on: processor, system, versions."""
    processor = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(": ", 1)[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "processor": processor,
        "processors": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "load_before": round(os.getloadavg()[0], 2),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
