"""Following a run never disturbs it, and says once if it cannot."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from unittest import mock

from dagster import AssetMaterialization, DagsterInstance, Output, job, op

from embedding_assets.dagster_defs.runs import follow as module
from embedding_assets.dagster_defs.runs.executions import PARTITION_TAG
from embedding_assets.dagster_defs.runs.follow import follow
from embedding_assets.dagster_defs.runs.heartbeat import heartbeat

WAIT_SECONDS = 10


def wait_for(lines: list[str]) -> None:
    """Until there is a line."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not lines and time.monotonic() < deadline:
        time.sleep(0.01)


def test_an_event_log_that_cannot_be_read_is_one_warning() -> None:
    """No file descriptor is left, say: the thread ends without a traceback, the block goes on."""
    lines: list[str] = []
    ended: list[object] = []
    with (
        mock.patch.object(module, "INTERVAL_SECONDS", 0.01),
        mock.patch.object(threading, "excepthook", ended.append),
        DagsterInstance.ephemeral() as instance,
        mock.patch.object(instance, "get_runs", side_effect=OSError(24, "Too many open files")),
        follow(instance, "20260102T120000Z-00000000", lines.append, 1),
    ):
        wait_for(lines)
        time.sleep(0.05)
    assert lines == ["warning: progress is no longer shown: OSError: [Errno 24] Too many open files"]
    assert ended == []


def test_a_batch_that_is_reported_again_is_counted_once() -> None:
    """It was polled and then set aside, for another number of dimensions than the others."""
    execution = "20260102T120000Z-00000000"
    lines: list[str] = []

    @op
    def poll() -> Iterator[AssetMaterialization | Output[None]]:
        for batch in ("a", "b", "a"):
            yield AssetMaterialization(["lines", "poll_results"], partition=batch)
        yield Output(None)

    @job(tags={PARTITION_TAG: execution})
    def poll_all() -> None:
        poll()

    with (
        DagsterInstance.ephemeral() as instance,
        mock.patch.object(module, "INTERVAL_SECONDS", 0.01),
    ):
        poll_all.execute_in_process(instance=instance)
        with follow(instance, execution, lines.append, 2):
            wait_for(lines)
    assert lines[0].startswith("2 of 2 batches polled")


def test_a_heartbeat_that_is_not_taken_does_no_harm() -> None:
    """The next one may be."""
    lines: list[str] = []
    ended: list[object] = []

    def log(line: str) -> None:
        lines.append(line)
        if len(lines) == 1:
            raise OSError(24, "Too many open files")

    with mock.patch.object(threading, "excepthook", ended.append), heartbeat(log, "merging", interval=0.01):
        deadline = time.monotonic() + WAIT_SECONDS
        while len(lines) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(lines) >= 2
    assert ended == []
