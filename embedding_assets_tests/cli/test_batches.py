"""What is done to rows that are named: what changes in them, and that it is done to all of them or to none."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embedding_assets.databases import LINES
from embedding_assets_tests.cli.commands import command, failed, failed_at_last
from embedding_assets_tests.dagster_defs.runs.world import World, texts

FINAL = ("COMPLETED", "FAILED", "EXPIRED", "CANCELLED")
LIVE = ("PENDING", "VALIDATING", "IN_PROGRESS", "FINALIZING", "CANCELING")

NewRow = Callable[..., str]
numbers = itertools.count()


@pytest.fixture
def new_row(shared: World) -> NewRow:
    """Makes a row of these values with an id of its own; gives the id."""

    def make(**values: Any) -> str:
        batch_id = str(values.pop("name", f"batch-{next(numbers)}"))
        shared.put_row(batch_id, **values)
        return batch_id

    return make


def changed(world: World, batch_id: str, before: dict[str, Any]) -> dict[str, Any]:
    """What is different in a row now, None for an attribute that is gone; not when or by which write."""
    now = world.row(batch_id)
    names = (now.keys() | before.keys()) - {"reset_at", "write_id"}
    return {name: now.get(name) for name in names if now.get(name) != before.get(name)}


def planned(world: World) -> set[str]:
    """All batches that the next execution would look at."""
    return {row.batch_id for row in world.services.ledger.live(LINES).ready_to_plan}


@pytest.mark.parametrize("status", FINAL)
def test_reprocess_opens_a_final_batch_again(shared: World, new_row: NewRow, status: str) -> None:
    """PENDING in both attributes, one generation on, planned by the next execution; all else stays."""
    batch_id = new_row(status=status, owner_note="not ours", embedded_count=3)
    before = shared.row(batch_id)
    told = command("reprocess", "--batch", batch_id, "--json").json["batches"]
    assert [(row["batch_id"], row["status"], row["generation"]) for row in told] == [(batch_id, "PENDING", 1)]
    assert changed(shared, batch_id, before) == {
        "status": "PENDING",
        "GSI1PK": "STATUS#PENDING",
        "generation": 1,
        "reopened_from": status,
    }
    assert batch_id in planned(shared)


def test_reprocess_counts_on(new_row: NewRow) -> None:
    """Each time one more; several batches at once, one named twice only once."""
    one, two = new_row(status="COMPLETED", generation=4), new_row(status="COMPLETED")
    told = command("reprocess", "-b", one, "-b", two, "-b", one, "--json").json["batches"]
    assert [(row["batch_id"], row["generation"]) for row in told] == [(one, 5), (two, 1)]


def test_several_ids_and_their_beginnings(new_row: NewRow) -> None:
    """After one `--batch` several ids; a beginning is enough if it is of one batch alone."""
    names = ("apple-1", "apricot-1", "pear-1")
    one, two, three = (new_row(status="COMPLETED", name=name) for name in names)
    told = command("reprocess", "--batch", one, "apr", "pe", "--json").json["batches"]
    assert [row["batch_id"] for row in told] == [one, two, three]
    error = failed("reset", "--batch", "ap", "--status", "FAILED")
    assert error == f"2 batches begin with 'ap': {one}, {two}"
    assert "there is no batch 'nobody'" in failed("reset", "--batch", "nobody", "--status", "FAILED")


def test_cancelled_batches_publish_what_they_have(world: World, file: Callable[..., Path]) -> None:
    """OpenAI is asked, the row says so; what was embedded by then is published, and the batch ends CANCELLED."""
    world.server.order("plans", {"plan": {"hold": "in_progress", "latency_seconds": 0.5}, "next": 1})
    records = [{"id": f"r{number}", "text": f"text {number}"} for number in range(20)]
    (batch_id,) = command("submit", "lines", str(file(*records)), "--json").json["batches"]
    time.sleep(0.3)
    told = command("cancel", "--batch", batch_id[:12], "--json").json["batches"]
    assert [(row["batch_id"], row["status"]) for row in told] in (
        [(batch_id, "CANCELING")],
        [(batch_id, "PENDING")],
    )
    command("ingest", "-d", "lines", "--wait", "--timeout", "60")
    row = world.row(batch_id)
    counts = [int(row[name]) for name in ("embedded_count", "failed_count", "unfinished_count")]
    assert (row["status"], sum(counts), counts[1]) == ("CANCELLED", 20, 0)
    assert "there is nothing to cancel" in failed("cancel", "--batch", batch_id)


def test_what_is_not_at_openai_is_not_cancelled(world: World) -> None:
    """One clear line, and no batch is cancelled beside it."""
    world.plant("slow", texts("s", 3), status="in_progress")
    world.put_row("done", status="COMPLETED")
    world.delete("gone", ["a"])
    assert failed("cancel", "-b", "slow", "done") == "batch done is COMPLETED: there is nothing to cancel"
    assert "is not at OpenAI" in failed("cancel", "-b", "slow", "gone")
    assert world.server.requests("POST /v1/batches/{id}/cancel") == 0


def test_one_refusal_does_not_keep_the_others(world: World, file: Callable[..., Path]) -> None:
    """A batch that has ended at OpenAI is refused; the other one, named after it, is cancelled all the same."""
    world.server.order("plans", {"plan": {"latency_seconds": 0}, "next": 1})
    (ended,) = command("submit", "lines", str(file({"id": "a", "text": "a"})), "--json").json["batches"]
    world.server.order("plans", {"plan": {"hold": "in_progress"}, "next": 1})
    (going,) = command("submit", "lines", str(file({"id": "b", "text": "b"})), "--json").json["batches"]
    wait_until_ended(world, ended)
    assert f"batch {ended} is completed at OpenAI: there is nothing to cancel" in failed_at_last(
        "cancel", "--batch", ended, going
    )
    assert world.statuses() == {ended: "PENDING", going: "CANCELING"}
    command("ingest", "-d", "lines", "--wait", "--timeout", "60")
    assert world.statuses() == {ended: "COMPLETED", going: "CANCELLED"}


def wait_until_ended(world: World, batch_id: str) -> None:
    """Until OpenAI's work is done."""
    openai_batch_id = world.row(batch_id)["openai_batch_id"]
    while world.server.control.get(f"/v1/batches/{openai_batch_id}").json()["status"] != "completed":
        time.sleep(0.01)


def test_a_reset_keeps_what_was_submitted_again(shared: World, new_row: NewRow) -> None:
    """Else the same requests would be paid a second time."""
    batch_id = new_row(status="COMPLETED", resubmitted_as="child")
    command("reset", "--batch", batch_id, "--status", "PENDING")
    assert shared.row(batch_id)["resubmitted_as"] == "child"


@pytest.mark.parametrize("other", ["live", "missing", "a/b"])
def test_reprocess_does_all_or_nothing(shared: World, new_row: NewRow, other: str) -> None:
    """One that is live, missing or refused stops the command before any row changes; the line is about it."""
    done = new_row(status="COMPLETED")
    shared.put_row("live", status="IN_PROGRESS")
    shared.put_row("a/b")
    before = shared.rows()
    error = failed("reprocess", "--batch", done, "--batch", other)
    assert other in error
    assert "COMPLETED" not in error
    assert ("IN_PROGRESS" in error) is (other == "live")
    assert shared.rows() == before


@pytest.mark.parametrize("status", LIVE)
def test_reset_to_a_live_status_opens_a_final_batch_again(shared: World, new_row: NewRow, status: str) -> None:
    """One generation on, so that marks of older versions no longer count for it."""
    batch_id = new_row(status="COMPLETED", generation=2)
    assert command("reset", "--batch", batch_id, "--status", status).code == 0
    row = shared.row(batch_id)
    assert (row["status"], row["GSI1PK"], int(row["generation"])) == (status, f"STATUS#{status}", 3)


def test_reset_takes_a_batch_back_into_the_plan(shared: World, new_row: NewRow) -> None:
    """Of a live row it clears what set it aside, its count of failures and the reason; the generation stays."""
    batch_id = new_row(set_aside="failed 3 times", ingest_attempts=3, error="why", owner_note="not ours")
    before = shared.row(batch_id)
    assert batch_id not in planned(shared)
    (told,) = command("reset", "--batch", batch_id, "--status", "PENDING", "--json").json["batches"]
    assert (told["status"], told["generation"]) == ("PENDING", 0)
    difference = changed(shared, batch_id, before)
    cleared = ("set_aside", "ingest_attempts", "error")
    assert {name: difference.pop(name) for name in cleared} == dict.fromkeys(cleared)
    assert difference in ({}, {"generation": 0})
    assert batch_id in planned(shared)


@pytest.mark.parametrize("status", FINAL)
def test_reset_to_a_final_status_ends_a_batch(shared: World, new_row: NewRow, status: str) -> None:
    """Nobody polls it any more; it says when it ended, and its generation stays."""
    batch_id = new_row()
    assert command("reset", "--batch", batch_id, "--status", status).code == 0
    row = shared.row(batch_id)
    assert (row["status"], row["GSI1PK"]) == (status, f"STATUS#{status}")
    assert int(row.get("generation", 0)) == 0
    assert row["completed_at"].endswith("Z")
    assert batch_id not in planned(shared)


def test_reset_does_all_or_nothing(shared: World, new_row: NewRow) -> None:
    """A batch that is missing stops the command before any row changes."""
    batch_id = new_row()
    before = shared.rows()
    assert "missing" in failed("reset", "--batch", batch_id, "--batch", "missing", "--status", "FAILED")
    assert shared.rows() == before


def test_acknowledge_ends_the_warning_until_the_batch_is_opened_again(shared: World, new_row: NewRow) -> None:
    """The row alone, all else stays; `status --batch` shows when and why; opening it again takes it away."""
    batch_id = new_row(
        status="EXPIRED", embedded_count=1, failed_count=0, unfinished_count=2, owner_note="not ours"
    )
    before = shared.row(batch_id)
    (row,) = command("acknowledge", "--batch", batch_id, "--reason", " a test ", "--json").json["batches"]
    assert row["acknowledged"] == "a test"
    found = changed(shared, batch_id, before)
    assert found.pop("acknowledged_at") == row["acknowledged_at"]
    assert found == {"acknowledged": "a test"}
    story = command("status", "--batch", batch_id, "--json").json["story"]
    assert "acknowledged: a test" in [one["what"] for one in story["timeline"]]
    assert story["next"]["why"] == "nothing: it was acknowledged (a test)"
    assert batch_id not in {one["batch_id"] for one in command("status", "--json").json["remarks"]}
    command("reprocess", "--batch", batch_id)
    assert not {"acknowledged", "acknowledged_at"} & shared.row(batch_id).keys()


@pytest.mark.parametrize(
    ("values", "reason", "line"),
    [
        ({"status": "FAILED", "error": "why"}, " ", "a reason is needed: it is all that others will see"),
        ({"status": "IN_PROGRESS"}, "x", "batch {} is IN_PROGRESS: only what has ended can be acknowledged"),
        ({"status": "COMPLETED"}, "x", "batch {} is COMPLETED and lacks nothing: there is nothing to acknowledge"),
        (
            {"status": "EXPIRED", "unfinished_count": 1, "resubmitted_as": "child"},
            "x",
            "batch {} was resubmitted as child: nothing warns of it",
        ),
    ],
)
def test_what_cannot_be_acknowledged(
    shared: World, new_row: NewRow, values: dict[str, Any], reason: str, line: str
) -> None:
    """One line, and no batch is acknowledged beside it."""
    other, wrong = new_row(status="FAILED", error="why"), new_row(**values)
    before = shared.rows()
    assert failed("acknowledge", "-b", other, wrong, "--reason", reason) == line.format(wrong)
    assert shared.rows() == before
