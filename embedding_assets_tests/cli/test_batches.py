"""`reprocess` and `reset`: what they do to the row, and that they do it to all named rows or to none."""

from __future__ import annotations

from typing import Any

import pytest

from embedding_assets.databases import LINES
from embedding_assets_tests.cli.commands import command, failed
from embedding_assets_tests.orchestration.world import World

FINAL = ("COMPLETED", "FAILED", "EXPIRED", "CANCELLED")
LIVE = ("PENDING", "VALIDATING", "IN_PROGRESS", "FINALIZING", "CANCELING")


def changed(world: World, batch_id: str, before: dict[str, Any]) -> dict[str, Any]:
    """What is different in a row now; None for an attribute that is gone. When it was reset is of no account."""
    now = world.row(batch_id)
    names = (now.keys() | before.keys()) - {"reset_at"}
    return {name: now.get(name) for name in names if now.get(name) != before.get(name)}


@pytest.mark.parametrize("status", FINAL)
def test_reprocess_opens_a_final_batch_again(world: World, status: str) -> None:
    """PENDING in both attributes, one generation on, planned by the next execution; all else stays."""
    world.put_row("one", status=status, owner_note="not ours", embedded_count=3)
    before = world.row("one")
    told = command("reprocess", "--batch", "one", "--json").json["batches"]
    assert [(row["batch_id"], row["status"], row["generation"]) for row in told] == [("one", "PENDING", 1)]
    assert changed(world, "one", before) == {"status": "PENDING", "GSI1PK": "STATUS#PENDING", "generation": 1}
    assert [row.batch_id for row in world.services.ledger.live(LINES).ready_to_plan] == ["one"]


def test_reprocess_counts_on(world: World) -> None:
    """Each time one more; several batches at once, one named twice only once."""
    world.put_row("one", status="COMPLETED", generation=4)
    world.put_row("two", status="COMPLETED")
    told = command("reprocess", "-b", "one", "-b", "two", "-b", "one", "--json").json["batches"]
    assert [(row["batch_id"], row["generation"]) for row in told] == [("one", 5), ("two", 1)]


@pytest.mark.parametrize("other", ["live", "missing", "a/b"])
def test_reprocess_does_all_or_nothing(world: World, other: str) -> None:
    """One that is live, missing or refused stops the command before any row changes; the line is about that one."""
    world.put_row("done", status="COMPLETED")
    world.put_row("live", status="IN_PROGRESS")
    world.put_row("a/b")
    before = world.rows()
    error = failed("reprocess", "--batch", "done", "--batch", other)
    assert other in error
    assert "COMPLETED" not in error
    assert ("IN_PROGRESS" in error) is (other == "live")
    assert world.rows() == before


@pytest.mark.parametrize("status", LIVE)
def test_reset_to_a_live_status_opens_a_final_batch_again(world: World, status: str) -> None:
    """One generation on, so that marks of older versions no longer count for it."""
    world.put_row("one", status="COMPLETED", generation=2)
    assert command("reset", "--batch", "one", "--status", status).code == 0
    row = world.row("one")
    assert (row["status"], row["GSI1PK"], int(row["generation"])) == (status, f"STATUS#{status}", 3)


def test_reset_takes_a_batch_back_into_the_plan(world: World) -> None:
    """Of a live row it clears what set it aside, its count of failures and the reason; the generation stays."""
    world.put_row("one", set_aside="failed 3 times", ingest_attempts=3, error="why", owner_note="not ours")
    before = world.row("one")
    assert world.services.ledger.live(LINES).ready_to_plan == ()
    (told,) = command("reset", "--batch", "one", "--status", "PENDING", "--json").json["batches"]
    assert (told["status"], told["generation"]) == ("PENDING", 0)
    difference = changed(world, "one", before)
    assert {name: difference.pop(name) for name in ("set_aside", "ingest_attempts", "error")} == dict.fromkeys(
        ("set_aside", "ingest_attempts", "error")
    )
    assert difference in ({}, {"generation": 0})
    assert [row.batch_id for row in world.services.ledger.live(LINES).ready_to_plan] == ["one"]


@pytest.mark.parametrize("status", FINAL)
def test_reset_to_a_final_status_ends_a_batch(world: World, status: str) -> None:
    """Nobody polls it any more; it says when it ended, and its generation stays."""
    world.put_row("one")
    assert command("reset", "--batch", "one", "--status", status).code == 0
    row = world.row("one")
    assert (row["status"], row["GSI1PK"]) == (status, f"STATUS#{status}")
    assert int(row.get("generation", 0)) == 0
    assert row["completed_at"].endswith("Z")
    assert world.services.ledger.live(LINES).ready_to_plan == ()


def test_reset_does_all_or_nothing(world: World) -> None:
    """A batch that is missing stops the command before any row changes."""
    world.put_row("one")
    before = world.rows()
    assert "missing" in failed("reset", "--batch", "one", "--batch", "missing", "--status", "FAILED")
    assert world.rows() == before
