"""The checks of `batches`: they warn until somebody acts, whatever was ingested since."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import dagster as dg
import yaml
from dagster import AssetKey
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from embedding_assets.dagster_defs.checks.backlog import needs_attention, on_time, output_kept
from embedding_assets.databases import LINES
from embedding_assets.ledger.batch_summary import BatchSummary, format_instant
from embedding_assets_tests.dagster_defs.checks.examined import plain
from embedding_assets_tests.dagster_defs.runs.world import World, texts, tick

SENSOR = "lines_attention"
NEEDED = dg.AssetCheckKey(AssetKey(["lines", "batches"]), "needs_attention")


def newest(world: World) -> dg.AssetCheckEvaluation:
    """The newest evaluation of `needs_attention`."""
    [record] = world.instance.event_log_storage.get_asset_check_execution_history(NEEDED, limit=1)
    event = record.event
    assert event is not None
    assert event.dagster_event is not None
    return event.dagster_event.asset_check_evaluation_data


def is_shown(world: World) -> bool:
    """Whether Dagster's UI shows the newest evaluation, and not that the check is not evaluated."""
    [record] = world.instance.event_log_storage.get_asset_check_execution_history(NEEDED, limit=1)
    return asyncio.run(record.targets_latest_materialization(LoadingContextForTest(world.instance)))


def by_hand(world: World) -> dg.AssetCheckEvaluation:
    """What the check finds when somebody runs it."""
    job = world.defs.resolve_implicit_global_asset_job_def().get_subset(
        asset_selection=set(), asset_check_selection={NEEDED}
    )
    [found] = job.execute_in_process(instance=world.instance).get_asset_check_evaluations()
    return found


def test_it_warns_until_somebody_acts(world: World) -> None:
    """Not only after the execution that met the failure, and by hand as by itself; each state is reported once."""
    world.plant("partly", texts("a", 3), status="expired", answered=texts("a", 1))
    world.plant("nothing", texts("b", 2), status="failed", answered=[])
    world.ingest()
    first = tick(world, SENSOR)
    found = newest(world)
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    first_line, *notes = (found.description or "").split("\n\n")
    assert first_line == "2 batches need attention"
    assert sorted(note.partition(":")[0].partition(", ")[0] for note in notes) == ["`nothing`", "`partly`"]
    assert all("Next: `embedding-assets resubmit --batch " in note for note in notes)
    assert "| `partly` | EXPIRED | " in plain(found)["details"]
    assert "resubmit --batch partly" in plain(found)["details"]
    assert tick(world, SENSOR, cursor=first.cursor).skip_message == "nothing changed"
    world.plant("good", texts("c", 2))
    world.ingest()
    assert not is_shown(world), "Dagster shows only what was found after the newest materialization"
    second = tick(world, SENSOR, cursor=first.cursor)
    assert is_shown(world)
    assert not newest(world).passed
    assert not by_hand(world).passed

    for batch_id in ("partly", "nothing"):
        world.services.ledger.reopen(world.services.ledger.get(batch_id))
    tick(world, SENSOR, cursor=second.cursor)
    assert newest(world).passed
    assert by_hand(world).passed


def test_a_healthy_batch_is_not_unsynced(world: World) -> None:
    """Marking comes after the poll, and is no newer materialization that the poll would be behind."""
    world.plant("good", texts("a", 2))
    world.ingest()
    assert [mark.partition for mark in world.marks()] == ["good"]
    graph = world.defs.resolve_asset_graph()
    statuses = CachingStaleStatusResolver(world.instance, graph, LoadingContextForTest(world.instance))
    assert statuses.get_status(AssetKey(["lines", "poll_results"]), "good") is StaleStatus.FRESH


def row(**values: Any) -> BatchSummary:
    """A live batch."""
    given = {"batch_id": "b", "openai_batch_id": "batch_b", "batch_type": LINES.batch_type, "status": "PENDING"}
    return BatchSummary.model_validate({**given, **values})


def test_late_batches_and_output_that_openai_deletes() -> None:
    """More than 20 hours live, and less than five days before OpenAI's 30."""
    now = datetime(2026, 3, 1, tzinfo=UTC)
    young = row(submitted_at=now - timedelta(hours=19))
    late = row(submitted_at=now - timedelta(hours=21))
    old = row(submitted_at=now - timedelta(days=26))
    assert on_time([young], now).holds
    assert on_time([young, late], now).line == "b has been live for 21h00m; OpenAI's limit is 24 h"
    assert output_kept([young, late], now).holds
    found = output_kept([late, old], now)
    assert not found.holds
    assert found.line.startswith("OpenAI deletes the output of b in 96h00m")


def test_a_note_leads_to_the_launchpad() -> None:
    """With the batch filled in; what cannot be sent again gets the command that `status` prints."""
    now = datetime(2026, 3, 1, tzinfo=UTC)
    ended = format_instant(now)
    failed = row(status="FAILED", submitted_at=now, completed_at=ended, unfinished_count=2, failed_count=0)
    helped = failed.model_copy(update={"retryable_count": 2})
    [note] = needs_attention(LINES, [helped], now, "my location").notes
    address = note.partition("[send it again…](")[2].removesuffix(")")
    path, _, query = address.partition("?config=")
    assert path == "../../locations/my%20location/jobs/resubmit_lines/playground/setup"
    config = yaml.safe_load(unquote(query))
    assert config == {"ops": {"resubmit_lines_batches": {"config": {"batch_ids": ["b"], "now": True}}}}
    [note] = needs_attention(LINES, [failed.model_copy(update={"retryable_count": 0})], now, "my location").notes
    assert "send it again" not in note
    assert "send it again" not in needs_attention(LINES, [helped], now).notes[0]
