"""Storms: what may pass counts against no batch, ends every command, and costs a bounded number of executions."""

from __future__ import annotations

import dagster as dg
import pytest

from embedding_assets.dagster_defs.runs import ingest as ingesting
from embedding_assets.dagster_defs.runs import passing
from embedding_assets.databases import LINES
from embedding_assets.errors import ServiceError
from embedding_assets_tests.dagster_defs.runs.world import World, texts, tick
from embedding_assets_tests.reference import reference_digest

CONTENT = "GET /v1/files/{id}/content"
GOOD = texts("good-", 2)
STRUCK = texts("struck-", 2, 10)
STORM = {"times": None, "status": 429, "retry_after": 0.01}


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingesting, "BARREN_PAUSES", (0.01, 0.02))
    monkeypatch.setattr(ingesting, "PAUSE_SECONDS", 0.01)


def storm(world: World, batch_id: str) -> None:
    """From now on OpenAI answers 429 for the output of this batch."""
    batch = world.server.control.get(f"/v1/batches/openai-{batch_id}").json()
    world.server.fault(CONTENT, contains=batch["output_file_id"], **STORM)


def calm(world: World) -> None:
    world.server.control.delete("/_control/faults").raise_for_status()


def test_a_storm_over_everything_ends_the_command_with_one_line(world: World) -> None:
    """Tried again a few times, then given up; the row is untouched, and afterwards everything is published."""
    world.plant("struck", STRUCK)
    storm(world, "struck")
    before = world.row("struck")
    told: list[str] = []
    for _ in range(2):
        report = world.ingest(until_drained=True, told=told)
        (failure,) = report.failures
        assert "1 of 1 batches could not be polled and will be polled again" in failure
        assert "429" in failure
        assert (report.waiting, report.set_aside, report.failed, report.marked) == (["struck"], {}, [], [])
        assert len(report.executions) == 3
        assert world.row("struck") == before
    assert sum(line.startswith("warning: execution") for line in told) == 4
    calm(world)
    report = world.ingest(until_drained=True)
    assert (report.failures, report.marked) == ([], ["struck"])
    assert world.published().content_digest == reference_digest(STRUCK)
    assert "ingest_attempts" not in world.row("struck")


def test_a_storm_over_one_batch_leaves_the_others_alone(world: World) -> None:
    """They are published; the one is warned of and waits. Without --until-drained that is no failure."""
    world.plant("good", GOOD)
    world.plant("struck", STRUCK)
    storm(world, "struck")
    report = world.ingest()
    assert (report.failures, report.marked, report.waiting) == ([], ["good"], ["struck"])
    assert [line for line in report.warned if "1 of 2 batches could not be polled" in line]
    polled = world.poll_results(report.executions[0])["struck"]
    assert (polled["action"], polled["passing"]) == ("error", True)
    assert world.published().content_digest == reference_digest(GOOD)


def test_the_sensor_waits_longer_after_each_execution_that_polled_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No run each tick: 30 s after the first, then twice as long; once something came through, none."""
    world.plant("struck", STRUCK)
    storm(world, "struck")
    services = world.services
    assert passing.pause_left(services.store, world.instance, LINES) == 0
    pauses = []
    for _ in range(3):
        world.ingest()
        pauses.append(passing.pause_left(services.store, world.instance, LINES))
    assert [25 < pauses[0] <= 30, 55 < pauses[1] <= 60, 115 < pauses[2] <= 120] == [True] * 3
    calm(world)
    keys = world.keys("manifests/")
    data = tick(world, "lines_pending_batches")
    assert data.run_requests == []
    assert "could poll nothing" in (data.skip_message or "")
    assert world.keys("manifests/") == keys
    monkeypatch.setattr(passing, "FIRST_PAUSE_SECONDS", 0.0)
    assert len(tick(world, "lines_pending_batches").run_requests or []) == 1
    assert world.ingest().marked == ["struck"]
    monkeypatch.undo()
    assert passing.pause_left(services.store, world.instance, LINES) == 0


def test_by_hand_what_may_pass_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch whose poll met 429 is polled once more in the same run; one that stays struck fails it."""
    monkeypatch.setattr("embedding_assets.dagster_defs.assets.polling.PAUSES", (0.01, 0.01))
    world.plant("flaky", GOOD)
    world.plant("struck", STRUCK)
    flaky = world.server.control.get("/v1/batches/openai-flaky").json()["output_file_id"]
    world.server.fault(CONTENT, contains=flaky, status=429, times=5, retry_after=0.01)
    storm(world, "struck")
    world.instance.add_dynamic_partitions("lines_batches", ["flaky", "struck"])
    before = world.rows()
    job = world.defs.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        instance=world.instance,
        asset_selection=[dg.AssetKey(["lines", "poll_results"])],
        tags={"dagster/asset_partition_range_start": "flaky", "dagster/asset_partition_range_end": "struck"},
        raise_on_error=False,
    )
    assert not result.success
    polled = [event.partition for event in world.materializations(LINES, "poll_results")]
    assert polled == ["flaky"]
    assert world.rows() == before


def test_a_batch_that_ended_is_reported_though_its_execution_failed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is final and will be in no other execution: this command is the last one that can list it."""

    def refused(*arguments: object) -> None:
        raise ServiceError("reading the pointer: AccessDenied")

    world.plant("good", GOOD)
    world.plant("useless", STRUCK, status="failed", answered=[])
    monkeypatch.setattr("embedding_assets.executions.poll.mismatches", refused)
    report = world.ingest()
    assert len(report.failures) == 1
    assert "AccessDenied" in report.failures[0]
    assert (report.failed, report.marked, report.waiting) == (["useless"], [], ["good"])
    events = [event for event in world.materializations(LINES, "batches") if event.partition == "useless"]
    assert [event.metadata["status"].value for event in events] == ["FAILED"]
