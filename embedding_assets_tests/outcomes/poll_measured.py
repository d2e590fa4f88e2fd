"""Polls one batch as a run's process does, and prints what it found and the most memory that it ever had.

`python -m embedding_assets_tests.outcomes.poll_measured OPENAI_BATCH_ID`, for batch `full` of lines.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from embedding_assets.databases import LINES
from embedding_assets.definitions import defs
from embedding_assets.ledger.batch_summary import BatchSummary, Status
from embedding_assets.services import connect


def main(openai_batch_id: str) -> None:
    """Poll, and print one JSON document."""
    assert defs, "the process has loaded all that a run's process loads"
    batch = BatchSummary(
        batch_id="full",
        openai_batch_id=openai_batch_id,
        batch_type=LINES.batch_type,
        status=Status.PENDING,
        submitted_at=datetime.now(UTC),
    )
    before = peak_megabytes()
    started = time.monotonic()
    result = connect().poller(LINES).poll(batch)
    found = {
        "embedded": result.embedding_count,
        "failed": result.failed_count,
        "unfinished": result.unfinished_count,
        "seconds": time.monotonic() - started,
        "peak_megabytes": peak_megabytes(),
        "megabytes_before": before,
    }
    sys.stdout.write(json.dumps(found) + "\n")


def peak_megabytes() -> float:
    """The greatest resident set of this process; `ru_maxrss` would also tell that of its parent before `exec`."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main(sys.argv[1])
