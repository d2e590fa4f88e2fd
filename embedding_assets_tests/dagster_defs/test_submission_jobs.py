"""The jobs that submit, in a real Dagster instance: the inbox, and what a retry can help."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import openai
import pytest

from embedding_assets.dagster_defs.submission_jobs import due_batches, resubmit_config
from embedding_assets.databases import LINES, WORDS
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets.submission.inbox import Inbox
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.world import World, open_world, texts, tick


@pytest.fixture
def world(
    stack: EmbeddedStack, aws: AwsClients, openai_clients: tuple[openai.OpenAI, httpx.Client], tmp_path: Path
) -> Iterator[World]:
    """A world of this test's own."""
    with open_world(stack, aws, openai_clients[1], tmp_path) as opened:
        yield opened


def run(world: World, job: str, config: dict[str, Any] | None = None) -> dg.ExecuteInProcessResult:
    """Run a job of the definitions."""
    return world.defs.resolve_job_def(job).execute_in_process(
        run_config=config, instance=world.instance, raise_on_error=False
    )


def records(*names: str) -> bytes:
    """A file of records."""
    return "".join(json.dumps({"id": name, "text": f"text of {name}"}) + "\n" for name in names).encode()


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    """What a run that failed says."""
    [event] = [event for event in result.all_events if event.is_step_failure]
    data = event.step_failure_data.user_failure_data
    assert data is not None
    return str(data.description)


def test_the_inbox_is_submitted_once(world: World) -> None:
    """Records and deletions, oldest first; a file that is written over is another one."""
    store = world.services.store
    store.put("lines/inbox/2026/first.jsonl", records("a", "b"))
    store.put("lines/inbox/gone.ids", b"x\ny\n")
    assert run(world, "submit_lines").success
    rows = world.services.ledger.live(LINES).ready_to_plan
    assert sorted((row.request_count, row.deletion_count) for row in rows if row.request_count) == [(2, None)]
    assert [row.deletion_count for row in rows if row.is_deletion] == [2]
    receipts = world.keys("lines/submitted/")
    assert len(receipts) == 2
    [receipt] = [world.json(key) for key in receipts if "first" in key]
    assert (receipt["file"], receipt["requests"]) == ("lines/inbox/2026/first.jsonl", 2)
    assert run(world, "submit_lines").success
    assert world.server.requests("POST /v1/batches") == 1
    store.put("lines/inbox/2026/first.jsonl", records("a", "b", "c"))
    assert run(world, "submit_lines").success
    assert world.server.requests("POST /v1/batches") == 2
    assert len(world.keys("lines/inbox/")) == 2
    assert world.services.ledger.live(WORDS).ready_to_plan == ()


def test_a_broken_file_stops_no_other(world: World) -> None:
    """It is named, with its line, each time until it is mended."""
    store = world.services.store
    store.put("lines/inbox/broken.jsonl", b'{"id": "a"}\n')
    store.put("lines/inbox/picture.png", b"")
    store.put("lines/inbox/good.jsonl", records("a"))
    for _ in range(2):
        result = run(world, "submit_lines")
        assert not result.success
        told = failure_of(result)
        assert "2 files not submitted" in told
        assert "lines/inbox/broken.jsonl line 1: text must be text" in told
        assert "lines/inbox/picture.png: its name ends neither in .jsonl, .parquet nor in .ids" in told
    assert len(world.services.ledger.live(LINES).ready_to_plan) == 1


def test_what_is_deferred_gets_no_receipt(world: World) -> None:
    """The schedule comes back to it."""
    world.services.store.put("lines/inbox/many.jsonl", records("a", "b"))
    submitter = world.services.submitter(LINES, lambda line: None)
    [done] = Inbox(world.services.store, LINES, type(submitter)(submitter.sender, submitter.asked, 4)).submit_all()
    assert done.submission is not None
    assert (done.submission.requests, done.submission.deferred) == (1, 1)
    assert world.keys("lines/submitted/") == set()


def test_failed_requests_are_resubmitted_when_their_time_has_come(world: World) -> None:
    """The sensor asks for a run once the batch has waited; the run resubmits; then there is nothing left to do."""
    world.plant("expired", texts("a", 3), status="expired", answered=texts("a", 1))
    world.ingest()
    row = world.services.ledger.get("expired")
    assert row.retryable_count == 2
    asked = tick(world, "lines_resubmission")
    assert (asked.run_requests, asked.skip_message) == ([], "no batch is to be resubmitted now")
    now = datetime.now(UTC)
    assert due_batches(world.services, LINES, now + timedelta(seconds=901)) == [row]
    assert due_batches(world.services, LINES, now) == []
    world.dynamodb.update_item(
        TableName=world.table,
        Key={"PK": {"S": "BATCH#expired"}, "SK": {"S": "STATUS"}},
        UpdateExpression="SET completed_at = :ended",
        ExpressionAttributeValues={":ended": {"S": (now - timedelta(hours=1)).isoformat()}},
    )
    [request] = tick(world, "lines_resubmission").run_requests or []
    assert request.run_config == resubmit_config(LINES, ["expired"])
    assert run(world, "resubmit_lines", dict(request.run_config)).success
    child = world.services.ledger.get("expired").resubmitted_as
    assert child is not None
    assert world.services.ledger.get(child).request_count == 2
    assert tick(world, "lines_resubmission").skip_message == "no batch is to be resubmitted now"
    assert run(world, "resubmit_lines", dict(request.run_config)).success
    assert world.server.requests("POST /v1/batches") == 1


def test_a_batch_whose_texts_are_gone_stops_no_other(world: World) -> None:
    """It is named, and not come back to."""
    for name in ("ghost", "other"):
        world.plant(name, texts(name, 2), status="expired", answered=[])
    world.ingest()
    world.server.forget_batch("openai-ghost")
    result = run(world, "resubmit_lines", resubmit_config(LINES, ["ghost", "other"]))
    assert not result.success
    assert "1 batches not resubmitted: batch ghost: " in failure_of(result)
    ledger = world.services.ledger
    assert ledger.get("other").resubmitted_as is not None
    assert (ledger.get("ghost").resubmitted_as, ledger.get("ghost").retryable_count) == (None, 0)
    assert due_batches(world.services, LINES, datetime.now(UTC) + timedelta(days=1)) == []


def test_schedule_and_sensor_wait_for_somebody_to_start_them(world: World) -> None:
    """They spend money."""
    assert world.defs.get_schedule_def("lines_inbox").default_status is dg.DefaultScheduleStatus.STOPPED
    assert world.defs.resolve_sensor_def("lines_resubmission").default_status is dg.DefaultSensorStatus.STOPPED
