"""From the command line: what OpenAI does not show, shows in part, or shows oddly; rows of the replaced system."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer

from embedding_assets.dagster_defs.submission_jobs import due_batches
from embedding_assets.databases import LINES
from embedding_assets_tests.cli.commands import Outcome, command
from embedding_assets_tests.dagster_defs.runs.world import World, answer_line, loaded_definitions, texts, tick
from embedding_assets_tests.reference import reference_digest

OTHER_KEY = "sk-of-another-project"
ANOTHER = "seems to belong to another project"
GRACE = "EMBEDDING_ASSETS_MISSING_GRACE_SECONDS"
CONTENT = "GET /v1/files/{id}/content"


def ago(**age: float) -> str:
    """An instant of so long ago."""
    return (datetime.now(UTC) - timedelta(**age)).isoformat()


def ingest(*options: str) -> Outcome:
    """`ingest --json`."""
    return command("ingest", "--json", "--until-drained", *options)


def errors_of(outcome: Outcome) -> list[str]:
    """The error lines on stderr."""
    return [line for line in outcome.stderr.splitlines() if line.startswith("error: ")]


@pytest.fixture
def plant(world: World) -> Callable[..., Any]:
    """Plants a batch of two records that was submitted an hour ago."""

    def make(batch_id: str, **planted: Any) -> Any:
        row = {"submitted_at": ago(hours=1), **planted.pop("row", {})}
        return world.plant(batch_id, texts(f"{batch_id}-", 2, seed=len(batch_id)), row=row, **planted)

    return make


@pytest.fixture
def five(world: World, plant: Callable[..., Any]) -> dict[str, Any]:
    """Five live batches, one of them still running; and their rows."""
    for number in range(4):
        plant(f"b{number}")
    plant("running", status="in_progress")
    return world.rows()


def test_the_key_of_another_project_changes_nothing(
    world: World, five: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five of five unknown, the list empty: one line, exit 1, no row or object changed. The right key goes on."""
    world.server.order("projects", {"key": OTHER_KEY})
    objects = world.objects()
    with monkeypatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", OTHER_KEY)
        for _ in range(2):
            outcome = ingest()
            assert outcome.code == 1
            (line,) = errors_of(outcome)
            assert ANOTHER in line
            assert "reset" in line
            assert sorted(outcome.json["waiting"]) == ["b0", "b1", "b2", "b3", "running"]
            assert (outcome.json["failed"], outcome.json["executions"]) == ([], [])
        data = tick(world, "lines_pending_batches")
        assert (data.run_requests, ANOTHER in (data.skip_message or "")) == ([], True)
        assert (world.rows(), world.objects()) == (five, objects)
        assert due_batches(world.services, LINES, datetime.now(UTC) + timedelta(days=1)) == []
    outcome = ingest()
    assert (outcome.code, sorted(outcome.json["marked"])) == (0, ["b0", "b1", "b2", "b3"])
    assert outcome.json["waiting"] == ["running"]


def test_with_another_key_only_old_batches_end(
    world: World, five: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of more than 30 days ago ends FAILED, and nothing pays for it again by itself; the others stay."""
    world.put_row("old", submitted_at=ago(days=31))
    world.server.order("projects", {"key": OTHER_KEY})
    monkeypatch.setenv("OPENAI_API_KEY", OTHER_KEY)
    outcome = ingest()
    assert (outcome.code, outcome.json["failed"]) == (1, ["old"])
    assert len(errors_of(outcome)) == 1
    rows = world.rows()
    assert rows.pop("BATCH#old")["status"] == "FAILED"
    assert rows == five
    assert due_batches(world.services, LINES, datetime.now(UTC) + timedelta(days=1)) == []


def lost_in_every_way(world: World, plant: Callable[..., Any]) -> dict[str, str]:
    """A batch of each kind of absence beside a good one; by batch, what is told of it."""
    plant("good")
    world.put_row("unknown", submitted_at=ago(hours=1))
    world.server.delete_file(plant("deleted")["output_file_id"])
    counts = {"total": 2, "completed": 2, "failed": 0}
    plant("no-id", answered=[], fields={"request_counts": counts})
    return {
        "unknown": "OpenAI does not know this batch",
        "deleted": "OpenAI does not give the output of this batch",
        "no-id": "OpenAI names no output of this batch, but counts 2 answers",
    }


def test_what_is_missing_waits_and_is_looked_for_again(world: World, plant: Callable[..., Any]) -> None:
    """Live, with `missing_since`, and reported by `ingest` and `status`; no second execution for it.

    The ingest after it shows up again publishes it, and nothing says any more that it was missing.
    """
    lost = lost_in_every_way(world, plant)
    first = ingest()
    assert (first.code, first.json["marked"], sorted(first.json["waiting"])) == (0, ["good"], sorted(lost))
    assert len(first.json["executions"]) == 1
    (warning,) = [line for line in first.stderr.splitlines() if "is looked for again" in line]
    assert all(batch_id in warning for batch_id in lost)
    rows = world.rows()
    for batch_id, why in lost.items():
        row = rows[f"BATCH#{batch_id}"]
        assert (row["status"], row["error"]) == ("PENDING", why)
        assert row["missing_since"].endswith("Z")
        told = command("status", "--batch", batch_id, "--json").json
        assert why in told["story"]["next"]["why"]
    results = world.poll_results(first.json["executions"][0])
    assert {results[batch_id]["action"] for batch_id in lost} == {"wait"}
    again = ingest()
    assert (again.code, again.json["executions"], sorted(again.json["waiting"])) == (0, [], sorted(lost))
    assert tick(world, "lines_pending_batches").run_requests == []
    assert world.rows() == rows
    remarks = {one["batch_id"]: one["kind"] for one in command("status", "--json").json["remarks"]}
    assert remarks == dict.fromkeys(lost, "missing")

    for batch_id in lost:
        world.plant_openai(batch_id, texts(f"{batch_id}-", 2, seed=len(batch_id)))
    outcome = ingest()
    assert (outcome.code, sorted(outcome.json["marked"]), outcome.json["waiting"]) == (0, sorted(lost), [])
    for batch_id in lost:
        row = world.row(batch_id)
        assert (row["status"], row["embedded_count"]) == ("COMPLETED", 2)
        assert not {"missing_since", "error"} & row.keys()


def test_one_that_runs_again_is_missing_no_more(world: World, plant: Callable[..., Any]) -> None:
    """An hour counts from a look that missed it after the last one that did not."""
    plant("good")
    world.put_row("flaky", submitted_at=ago(hours=1))
    ingest()
    assert "missing_since" in world.row("flaky")
    world.plant_openai("flaky", texts("flaky-", 1), status="in_progress")
    outcome = ingest()
    assert (outcome.json["executions"], outcome.json["waiting"]) == ([], ["flaky"])
    assert not {"missing_since", "error"} & world.row("flaky").keys()


def test_what_is_missing_at_two_looks_ends(
    world: World, plant: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At least the grace apart: FAILED with its reason; looking again (free) is offered before paying again.

    One that was submitted 31 days ago ends at the first look: OpenAI keeps nothing so old.
    """
    lost = lost_in_every_way(world, plant)
    world.put_row("old", submitted_at=ago(days=31))
    assert ingest().json["failed"] == ["old"]
    monkeypatch.setenv(GRACE, "0")
    with loaded_definitions():
        outcome = ingest()
    assert (outcome.code, sorted(outcome.json["failed"]), outcome.json["waiting"]) == (0, sorted(lost), [])
    for batch_id in lost:
        row = world.row(batch_id)
        assert (row["status"], row["embedded_count"]) == ("FAILED", 0)
        assert "missing_since" not in row
        told = command("status", "--batch", batch_id, "--json").json["story"]["next"]
        assert told["command"] in (f"embedding-assets reprocess --batch {batch_id}", None)
    assert command("status", "--batch", "deleted", "--json").json["story"]["next"]["command"] is not None


def test_a_cut_output_is_fetched_again(world: World) -> None:
    """The body ends early at a line's end, the connection closes, no Content-Length: all 56 are published."""
    records = texts("r-", 56)
    batch = world.plant("cut", records, row={"submitted_at": ago(hours=1)})
    at_a_lines_end = len("\n".join(answer_line(one) for one in records[:43])) + 1
    cut = {"unnoticed": "no_length", "truncate_after": at_a_lines_end}
    world.server.fault(CONTENT, contains=batch["output_file_id"], **cut)
    outcome = ingest()
    assert (outcome.code, outcome.json["marked"]) == (0, ["cut"])
    row = world.row("cut")
    assert (row["status"], row["embedded_count"], row["unfinished_count"]) == ("COMPLETED", 56, 0)
    assert world.published().content_digest == reference_digest(records)


def keep(world: World, batch_id: str, ids: Sequence[str]) -> None:
    """Put the records of these ids there."""
    lines = [json.dumps({"id": one, "document": f"text of {one}"}) for one in ids]
    world.services.store.put(f"records/{batch_id}.jsonl", "\n".join(lines).encode())


def test_records_that_do_not_fit(world: World, plant: Callable[..., Any]) -> None:
    """20 requested and answered, 10 on record: FAILED with both numbers. Ids in other letter case: with both ids.

    `reprocess` is offered, never `resubmit`. Mended, they are published, and nothing is paid again.
    """
    wanted = texts("r-", 20)
    world.plant("short", wanted, row={"submitted_at": ago(hours=1), "request_count": 20})
    ids = [one.id for one in wanted]
    keep(world, "short", ids[:10])
    plant("Near")
    keep(world, "Near", ["near-0", "near-1"])
    plant("good")
    outcome = ingest()
    assert (outcome.code, sorted(outcome.json["failed"]), outcome.json["marked"]) == (
        0,
        ["Near", "short"],
        ["good"],
    )
    assert world.published().total_embeddings == 2
    row, near = world.row("short"), world.row("Near")
    assert (row["status"], row["request_count"], row["embedded_count"]) == ("FAILED", 20, 0)
    assert "has 10 lines, but the row's request_count is 20" in row["error"]
    assert (near["status"], near["unfinished_count"], near["retryable_count"]) == ("FAILED", 2, 0)
    assert "'near-0' was requested, 'Near-" in near["error"]
    for batch_id in ("short", "Near"):
        told = command("status", "--batch", batch_id, "--json").json["story"]
        assert told["next"]["command"] == f"embedding-assets reprocess --batch {batch_id}"
        assert told["balance"]["balanced"] is True
        sent = command("resubmit", "--batch", batch_id, "--json")
        assert (sent.code, sent.json["batches"]) == (0, [])
    assert due_batches(world.services, LINES, datetime.now(UTC) + timedelta(days=1)) == []

    keep(world, "short", ids)
    keep(world, "Near", ["Near-0", "Near-1"])
    assert command("reprocess", "--batch", "short", "--batch", "Near").code == 0
    assert sorted(ingest().json["marked"]) == ["Near", "short"]
    row = world.row("short")
    assert (row["status"], row["request_count"], row["embedded_count"]) == ("COMPLETED", 20, 20)
    assert world.server.requests("POST /v1/batches") == 0


ODD = {"endpoint": "/v1/chat/completions", "status": "COMPLETED", "created_at": "2026-11-25T10:00:00Z"}
ODD_ENTRIES: dict[str, dict[str, Any]] = {
    "instant-as-text": ODD,
    "milliseconds": {**ODD, "created_at": 1_764_064_800_000},
    "no-instant": {**ODD, "created_at": None},
    "status-as-number": {"status": 5},
    "errors-as-list": {"errors": [{"code": 7, "message": None}]},
}


def test_odd_entries_of_the_list(world: World, plant: Callable[..., Any]) -> None:
    """Those of somebody else are skipped and reported in one line. One of ours is asked for singly; all go on."""
    plant("one")
    for name, fields in ODD_ENTRIES.items():
        world.server.plant(name, fields=fields)
    plant("odd", fields={**ODD, "created_at": "yesterday", "errors": [{"code": 1}], "metadata": []})
    plant("running", status="in_progress")
    outcome = ingest()
    assert (outcome.code, sorted(outcome.json["marked"])) == (0, ["odd", "one"])
    (warning,) = [line for line in outcome.stderr.splitlines() if "cannot be read and is skipped" in line]
    assert "and 4 more" in warning


def test_a_list_that_cannot_be_used(world: World, plant: Callable[..., Any]) -> None:
    """It has no data: the batches are asked for singly."""
    plant("one")
    page = {"text": '{"object": "list", "data": null}', "content_type": "application/json"}
    world.server.fault("GET /v1/batches", times=None, **page)
    outcome = ingest()
    assert (outcome.code, outcome.json["marked"]) == (0, ["one"])
    assert "asked for singly" in outcome.stderr


def test_a_status_that_is_none_of_openais(world: World, plant: Callable[..., Any]) -> None:
    """The batch stays live, with OpenAI's own word in `ingest` and `status`, until OpenAI has ended it."""
    plant("strange", fields={"status": "Paused"})
    outcome = ingest()
    assert (outcome.code, outcome.json["waiting"], outcome.json["executions"]) == (0, ["strange"], [])
    assert sum("'Paused'" in line for line in outcome.stderr.splitlines()) == 1
    assert (world.row("strange")["status"], world.row("strange")["openai_status"]) == ("PENDING", "Paused")
    (remark,) = command("status", "--json").json["remarks"]
    assert (remark["kind"], "'Paused'" in remark["why"]) == ("unknown status", True)
    assert "'Paused'" in command("status", "--batch", "strange").stdout
    world.plant_openai("strange", texts("strange-", 2))
    assert ingest().json["marked"] == ["strange"]
    assert "openai_status" not in world.row("strange")


REPLACED = "7c1d5c1e-0000-4000-8000-000000000001"
ROW_OF_THE_REPLACED_SYSTEM = {
    "PK": f"BATCH#{REPLACED}",
    "SK": "STATUS",
    "GSI1PK": "STATUS#PENDING",
    "GSI1SK": f"BATCH_TYPE#LINE_EMBEDDING#BATCH_ID#{REPLACED}",
    "TYPE": "BATCH_SUMMARY",
    "batch_type": "LINE_EMBEDDING",
    "openai_batch_id": f"openai-{REPLACED}",
    "status": "PENDING",
    "result_file_id": "N/A",
    "receipt_refs": [{"image_id": "img-1", "receipt_id": 1}],
}


def test_a_row_of_the_replaced_system(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no `batch_id`: ingested, and what its own reader needs is as it was, after every write."""
    monkeypatch.setenv("EMBEDDING_ASSETS_LEGACY_ROWS", "1")
    row = {**ROW_OF_THE_REPLACED_SYSTEM, "submitted_at": ago(hours=1)}
    item = {name: TypeSerializer().serialize(value) for name, value in row.items()}
    world.dynamodb.put_item(TableName=world.table, Item=item)
    world.plant_openai(REPLACED, texts("r-", 2))
    outcome = ingest()
    assert (outcome.code, outcome.json["refused"], outcome.json["marked"]) == (0, [], [REPLACED])
    assert command("reprocess", "--batch", REPLACED).code == 0
    assert ingest().json["marked"] == [REPLACED]
    now = world.row(REPLACED)
    assert now["status"] == "COMPLETED"
    assert "batch_id" not in now
    for name in ("result_file_id", "receipt_refs", "submitted_at", "openai_batch_id"):
        assert now[name] == row[name]


def test_rows_that_the_reader_of_the_replaced_system_takes(
    world: World, monkeypatch: pytest.MonkeyPatch, file: Callable[..., Any]
) -> None:
    """With the setting our own rows have both attributes; the file id is OpenAI's once it is known."""
    monkeypatch.setenv("EMBEDDING_ASSETS_LEGACY_ROWS", "1")
    monkeypatch.setenv("EMBEDDING_ASSETS_DIMENSIONS", "8")
    (batch_id,) = command("submit", "lines", str(file({"id": "a", "text": "t"})), "--json").json["batches"]
    row = world.row(batch_id)
    assert (row["result_file_id"], row["receipt_refs"]) == ("N/A", [])
    with loaded_definitions():
        while not ingest().json["marked"]:
            continue
    row = world.row(batch_id)
    remote = world.services.openai.retrieve(row["openai_batch_id"])
    assert (row["status"], row["result_file_id"]) == ("COMPLETED", remote.output_file_id)
    assert row["receipt_refs"] == []
