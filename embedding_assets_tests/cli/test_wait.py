"""`ingest --wait`: until OpenAI has ended every batch, or the time is over."""

from __future__ import annotations

import pytest

from embedding_assets.dagster_defs.runs import waiting
from embedding_assets_tests.cli.commands import command
from embedding_assets_tests.dagster_defs.runs.world import World, texts


def test_it_waits_for_what_is_running(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report is about everything that it did, not about its last look alone."""
    world.plant("ready", texts("r", 2))
    world.plant("slow", texts("s", 3), status="in_progress")

    def pause(seconds: float) -> None:
        assert seconds == waiting.OPENAI_SECONDS
        world.plant_openai("slow", texts("s", 3))

    monkeypatch.setattr("embedding_assets.dagster_defs.runs.waiting.time.sleep", pause)
    report = command("ingest", "-d", "lines", "--wait", "--json").json
    assert (report["marked"], report["waiting"], len(report["executions"])) == (["ready", "slow"], [], 2)
    assert world.published().total_embeddings == 5


def test_in_the_end_it_stops_waiting(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, exit code 1; what was ready is published."""
    monkeypatch.setattr(waiting, "OPENAI_SECONDS", 0.05)
    world.plant("ready", texts("r", 2))
    world.plant("slow", texts("s", 3), status="in_progress")
    outcome = command("ingest", "-d", "lines", "--wait", "--timeout", "0.3", "--json")
    assert (outcome.code, outcome.json["waiting"], outcome.json["marked"]) == (1, ["slow"], ["ready"])
    assert outcome.stderr.splitlines()[-1] == "error: 1 batch is still running at OpenAI after 0.3 s"
