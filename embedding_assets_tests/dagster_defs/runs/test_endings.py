"""How batches end that OpenAI did not simply complete, each beside others that are published all the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import openai
import pytest

from embedding_assets.dagster_defs.runs.ingest import IngestReport, run_execution
from embedding_assets.dagster_defs.runs.planning import begin_execution
from embedding_assets.databases import LINES
from embedding_assets.ledger.batch_summary import Status, parse_instant
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets.versions.manifest import chain
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.world import World, error_line, open_world, texts
from embedding_assets_tests.reference import reference_digest

GOOD = texts("good-", 3)
PARTLY = texts("partly-", 4, seed=10)
ASKED = texts("asked-", 2, seed=20)
CONTENT = "GET /v1/files/{id}/content"
FLAKY = texts("flaky-", 2, seed=30)
BROKEN = texts("broken-", 2, seed=40)
STUBBORN = texts("stubborn-", 1, seed=50)

TOKEN_LIMIT = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}
TRIES_OF_THE_SDK = 5


@dataclass(frozen=True)
class Ending:
    """What the row of a batch shall say in the end. `error` is a part of its reason."""

    status: str
    embedded: int = 0
    failed: int = 0
    unfinished: int = 0
    error: str | None = None
    actions: tuple[str, ...] = field(default=("handle_failure",))


PUBLISHED = ("process_results",)
ENDINGS = {
    "good": Ending("COMPLETED", embedded=3, actions=PUBLISHED),
    "partly": Ending("EXPIRED", embedded=1, failed=1, unfinished=2, actions=("process_partial",)),
    "flaky": Ending("COMPLETED", embedded=2, actions=("error", "process_results")),
    "limited": Ending("FAILED", unfinished=2, error="token_limit_exceeded: Enqueued token limit reached"),
    "expired": Ending("EXPIRED", unfinished=2, error="expired"),
    "cancelled": Ending("CANCELLED", unfinished=2, error="cancelled"),
    "silent": Ending("FAILED", unfinished=2, error="completed"),
    "useless": Ending("FAILED", failed=2, error="server_error"),
    "unknown": Ending("FAILED", error="does not know"),
    "deleted": Ending("FAILED", unfinished=2, error="deleted the output"),
}


@dataclass(frozen=True)
class Story:
    """One `ingest` until nothing more is ready, and a second one."""

    world: World
    report: IngestReport
    second: IngestReport


@pytest.fixture(scope="module")
def story(
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Story]:
    """Plant one batch for each ending, and ingest all of them at once."""
    with open_world(stack, aws, openai_clients[1], tmp_path_factory.mktemp("home")) as world:
        plant(world)
        report = world.ingest(until_drained=True)
        yield Story(world, report, world.ingest(until_drained=True))


def plant(world: World) -> None:
    """One batch for each ending."""
    world.plant("good", GOOD)
    world.plant("partly", PARTLY, status="expired", answered=PARTLY[:1], errors=error_lines())
    flaky = world.plant("flaky", FLAKY)["output_file_id"]
    world.server.fault(CONTENT, contains=flaky, times=TRIES_OF_THE_SDK, status=503, retry_after=0.01)
    world.plant("limited", ASKED, status="failed", answered=[], batch_errors=[TOKEN_LIMIT])
    world.plant("expired", ASKED, status="expired", answered=[])
    world.plant("cancelled", ASKED, status="cancelled", answered=[])
    world.plant("silent", ASKED, answered=[])
    world.plant("useless", ASKED, answered=[], errors="\n".join(error_line(one) for one in ASKED))
    world.put_row("unknown")
    batch = world.plant("deleted", ASKED)
    world.server.delete_file(batch["output_file_id"])
    world.plant("broken", BROKEN, fields={"input_file_id": None})
    stubborn = world.plant("stubborn", STUBBORN)["output_file_id"]
    world.server.fault(CONTENT, contains=stubborn, times=None, status=400)


def error_lines() -> str:
    """One request failed, one expired; the last one has no line at all."""
    return "\n".join([error_line(PARTLY[1]), error_line(PARTLY[2], code="batch_expired", status=None)])


def polls_of(story: Story, batch_id: str) -> list[Any]:
    """Every poll result of a batch, by execution."""
    polled = [story.world.poll_results(execution) for execution in story.report.executions]
    return [results[batch_id] for results in polled if batch_id in results]


@pytest.mark.parametrize("batch_id", ENDINGS)
def test_a_batch_ends_with_its_status_counts_and_reason(story: Story, batch_id: str) -> None:
    """A final row has its status in both attributes, all three counts, when it ended, and why it has nothing."""
    wanted = ENDINGS[batch_id]
    row = story.world.row(batch_id)
    counts = (row["embedded_count"], row["failed_count"], row["unfinished_count"])
    assert (row["status"], row["GSI1PK"]) == (wanted.status, f"STATUS#{wanted.status}")
    assert counts == (wanted.embedded, wanted.failed, wanted.unfinished)
    parse_instant(row["completed_at"])
    if wanted.error is not None:
        assert wanted.error in row["error"]
    assert ("snapshot_version" in row, "execution_id" in row) == (
        (True, True) if wanted.embedded else (False, False)
    )
    assert tuple(result["action"] for result in polls_of(story, batch_id)) == wanted.actions


def test_the_report_tells_which_ended_without_embeddings(story: Story) -> None:
    """`failed` lists those that ended with nothing, `marked` those that are published, each once."""
    nothing = {batch_id for batch_id, ending in ENDINGS.items() if not ending.embedded}
    assert sorted(story.report.failed) == sorted(nothing)
    assert sorted(story.report.marked) == sorted(ENDINGS.keys() - nothing)
    assert story.report.failures == []
    assert story.report.waiting == []


@pytest.mark.parametrize(
    ("batch_id", "reason"), [("broken", "neither records/broken.jsonl nor"), ("stubborn", "400")]
)
def test_the_third_failure_of_its_own_sets_a_batch_aside(story: Story, batch_id: str, reason: str) -> None:
    """Polled in three executions and no fourth, live, with a reason that says where to look."""
    assert [result["action"] for result in polls_of(story, batch_id)] == ["error"] * 3
    assert all(reason in result["message"] for result in polls_of(story, batch_id))
    row = story.world.row(batch_id)
    assert (row["status"], int(row["ingest_attempts"])) == ("PENDING", 3)
    assert reason in row["set_aside"]
    assert reason in story.report.set_aside[batch_id]


def test_exactly_two_batches_are_set_aside_and_stay_so(story: Story) -> None:
    """A batch that failed once and then came through is not among them; another call plans none of them."""
    assert set(story.report.set_aside) == set(story.second.set_aside) == {"broken", "stubborn"}
    assert len(story.report.executions) == 3
    assert story.second.executions == []


def test_everything_that_was_delivered_is_published(story: Story) -> None:
    """Two versions, the second with the batch that came through at its second try; no record of the others."""
    manifest = story.world.published()
    assert manifest.content_digest == reference_digest([*GOOD, *PARTLY[:1], *FLAKY])
    versions = list(chain(story.world.services.store, LINES, manifest))
    accounted = [{batch.batch_id: batch.status for batch in version.batches} for version in versions]
    assert accounted == [
        {"flaky": Status.COMPLETED},
        {"good": Status.COMPLETED, "partly": Status.EXPIRED},
    ]


def test_every_request_without_an_embedding_is_on_record(story: Story) -> None:
    """`errors.jsonl` has a line for each, failed or unfinished; a batch without any has no such file."""
    lines = story.world.services.store.get("poll_results/partly/errors.jsonl").decode().splitlines()
    told = {entry["id"]: (entry["reason"], entry["code"]) for entry in map(json.loads, lines)}
    assert told == {
        "partly-1": ("failed", "server_error"),
        "partly-2": ("unfinished", "batch_expired"),
        "partly-3": ("unfinished", "batch_expired"),
    }
    assert story.world.keys("poll_results/good/") == {
        "poll_results/good/result.json",
        "poll_results/good/batch.json",
    }


def test_poll_results_name_every_batch_of_the_manifest(story: Story) -> None:
    """One entry for each, in the manifest's order, also for those that failed or could not be polled."""
    for execution in story.report.executions:
        planned = story.world.json(f"manifests/{execution}/batches.json")["batches"]
        polled = story.world.json(f"poll_results/{execution}/poll_results.json")
        assert [entry["batch_id"] for entry in polled] == [entry["batch_id"] for entry in planned]


def test_an_execution_without_a_delta_publishes_nothing(story: Story) -> None:
    """Its `chunks.json` is `[]`, and its final snapshot is the version that was there."""
    last = story.report.executions[2]
    assert story.world.json(f"chunks/{last}/chunks.json") == []
    final = story.world.json(f"manifests/{last}/final_snapshot.json")
    assert final["snapshot_version"] == story.world.published().version
    assert (final["batches"], final["added"], final["updated"]) == ([], 0, 0)
    assert story.world.keys(f"chunk_groups/{last}/", f"intermediate/{last}") == {
        f"intermediate/{last}/snapshots.json"
    }


def test_a_batch_that_goes_on_is_told_and_noted(world: World) -> None:
    """Planned though OpenAI works on it: its poll says `wait`, the row gets OpenAI's live status, nothing more."""
    world.plant("slow", ASKED, status="finalizing")
    ready = world.services.ledger.live(LINES).ready_to_plan
    execution = begin_execution(world.services, world.instance, LINES, ready).execution_id
    assert run_execution(world.services, world.instance, LINES, execution, lambda line: None, batches=1) is None
    polled = world.poll_results(execution)["slow"]
    assert (polled["action"], polled["batch_status"], polled["delta_key"]) == ("wait", "finalizing", None)
    row = world.row("slow")
    assert (row["status"], row["GSI1PK"]) == ("FINALIZING", "STATUS#FINALIZING")
    assert "completed_at" not in row
    final = world.materializations(LINES, "final_snapshot")
    assert [event.metadata["total_embeddings"].value for event in final] == [0]
    assert world.keys("lines/") == set()
