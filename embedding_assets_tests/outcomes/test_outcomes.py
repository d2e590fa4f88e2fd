"""Each outcome and each malformation, ingested at once: row, counts, errors.jsonl, what is published, `status`.

How batches end that could not be polled, or that came through at a second try:
`dagster_defs/runs/test_endings.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest

from embedding_assets.bucket.keys import errors_key, records_key
from embedding_assets.dagster_defs.runs.ingest import IngestReport
from embedding_assets.ledger.batch_summary import parse_instant
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.cli.commands import SECRETS, command
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.world import World, open_world, request_line
from embedding_assets_tests.outcomes.cases import (
    ASKED,
    ENDED,
    LIVE,
    NO_ANSWER,
    OUTCOMES,
    Case,
    asked,
    published,
    record_lines,
)
from embedding_assets_tests.reference import reference_digest

LIST = "GET /v1/batches"
RETRIEVE = "GET /v1/batches/{id}"
DOWNLOAD = "GET /v1/files/{id}/content"


@dataclass(frozen=True)
class Story:
    """One ingest of everything, and one after it."""

    world: World
    report: IngestReport
    told: list[str]
    polls: dict[str, dict[str, Any]]
    retrieved: int
    second: IngestReport
    traffic_of_second: tuple[int, int, int]


@pytest.fixture(scope="module")
def story(
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Story]:
    """Plant one batch for each case and each live status, and ingest them."""
    with open_world(stack, aws, openai_clients[1], tmp_path_factory.mktemp("home"), **SECRETS) as world:
        for name, case in ENDED.items():
            plant(world, name, case)
        for name in LIVE:
            world.plant(name, asked(name), status=name.replace("-", "_"))
        told: list[str] = []
        report = world.ingest(until_drained=True, told=told)
        retrieved = world.server.requests(RETRIEVE)
        world.server.order("counters/reset")
        second = world.ingest(until_drained=True)
        traffic = tuple(world.server.requests(route) for route in (LIST, RETRIEVE, DOWNLOAD))
        (execution,) = report.executions
        assert len(traffic) == 3
        yield Story(world, report, told, world.poll_results(execution), retrieved, second, traffic)


def plant(world: World, name: str, case: Case) -> None:
    """The batch at OpenAI, its row, and its records where they are kept."""
    if case.planted is not None:
        requests = "\n".join(request_line(one) for one in asked(name))
        batch = world.server.plant(f"openai-{name}", **{"input": requests, **case.planted})
        if case.lost:
            world.server.delete_file(batch["output_file_id"])
    if case.kept:
        world.services.store.put(records_key(name), record_lines(name))
    world.put_row(name)


@pytest.mark.parametrize("name", ENDED)
def test_the_row_has_its_final_status_and_counts_that_balance(story: Story, name: str) -> None:
    """Both status attributes, requested = embedded + failed + unfinished, and why it has nothing."""
    case, row = ENDED[name], story.world.row(name)
    counts = (row["embedded_count"], row["failed_count"], row["unfinished_count"])
    assert (row["status"], row["GSI1PK"]) == (case.status, f"STATUS#{case.status}")
    assert counts == (case.embedded, case.count("failed"), case.count("unfinished"))
    assert sum(counts) == row["request_count"] == ASKED
    parse_instant(row["completed_at"])
    assert (case.reason or "") in row.get("error", "")
    assert ("error" in row) is (case.reason is not None)
    assert ("snapshot_version" in row, "execution_id" in row) == (bool(case.embedded),) * 2


@pytest.mark.parametrize("name", ENDED)
def test_errors_jsonl_has_a_line_for_each_request_without_an_embedding(story: Story, name: str) -> None:
    """Reason, code, HTTP status, and whether a retry can help; without any there is no such file."""
    case, store = ENDED[name], story.world.services.store
    stored = store.find(errors_key(name))
    lines = [json.loads(line) for line in stored.data.splitlines()] if stored is not None else []
    assert (stored is None) is (not case.errors)
    assert all(isinstance(line["message"], str) for line in lines)
    fields = ("id", "reason", "code", "status_code", "retryable")
    assert sorted(tuple(line[field] for field in fields) for line in lines) == sorted(
        (f"{name}-{number}", *error) for number, error in case.errors.items()
    )


@pytest.mark.parametrize("name", ENDED)
def test_the_poll_tells_what_was_left_out(story: Story, name: str) -> None:
    """Answers that nobody asked for, and further ones to a request that has its own, are counted."""
    case, result = ENDED[name], story.polls[name]
    assert (result["unknown_count"], result["repeated_count"]) == case.left_out
    assert (result["delta_key"] is None) is (case.embedded == 0)
    planted = case.planted or {}
    codes = [problem["code"] for problem in planted.get("batch_errors", [])]
    assert result["batch_error_code"] == (codes[0] if codes else None)


def test_what_is_published_is_exactly_what_was_delivered(story: Story) -> None:
    """Every usable vector, bit for bit, under its own id, and not one record more."""
    manifest = story.world.published()
    wanted = [one for name in ENDED for one in published(name)]
    assert manifest.content_digest == reference_digest(wanted)
    accounted = {batch.batch_id: str(batch.status) for batch in manifest.batches}
    assert accounted == {name: case.status for name, case in ENDED.items() if case.embedded}


def test_the_report_tells_each_batch_once(story: Story) -> None:
    """`marked` those that are published, `failed` those with nothing, `waiting` those that go on."""
    nothing = {name for name, case in ENDED.items() if not case.embedded}
    assert sorted(story.report.failed) == sorted(nothing)
    assert sorted(story.report.marked) == sorted(ENDED.keys() - nothing)
    assert sorted(story.report.waiting) == sorted(LIVE)
    assert story.report.failures == []


def test_a_final_batch_is_never_polled_again(story: Story) -> None:
    """The list shows all but one, which is retrieved when it is planned and when it is polled.

    So are those that are to have an output and name none, and those that have requests without an answer.
    """
    unanswered = sum(NO_ANSWER in case.errors.values() for case in ENDED.values())
    assert story.retrieved == 2 + unanswered
    assert story.second.executions == []
    assert story.traffic_of_second == (1, 0, 0)


@pytest.mark.parametrize("name", LIVE)
def test_a_batch_that_goes_on_stays_live(story: Story, name: str) -> None:
    """It is neither planned nor polled; `status` tells that nothing is decided, and that it is late."""
    assert name not in story.polls
    assert story.world.row(name)["status"] == "PENDING"
    told = command("status", "--batch", name, "--json").json
    assert told["counts"] == {"PENDING": 1}
    assert told["late"] == [name]
    assert told["story"]["balance"]["balanced"] is None


def test_ingest_warns_of_what_goes_on_for_too_long(story: Story) -> None:
    """Once, in one line that names them; they were submitted long ago."""
    (warning,) = [line for line in story.told if line.startswith("warning: ")]
    assert all(name in warning for name in LIVE)


@pytest.mark.parametrize("name", [*OUTCOMES, "nothing-usable", "lying-counts", "empty-file-ids"])
def test_status_tells_the_outcome(story: Story, name: str) -> None:
    """Its status and error, counts that balance, and its errors grouped with whether a retry can help."""
    case = ENDED[name]
    told = command("status", "--batch", name, "--json").json
    (row,) = told["batches"]
    assert (row["status"], told["counts"]) == (case.status, {case.status: 1})
    assert (case.reason or "") in row.get("error", "")
    balance = told["story"]["balance"]
    parts = (balance["embedded"], balance["failed"], balance["unfinished"])
    assert parts == (case.embedded, case.count("failed"), case.count("unfinished"))
    assert (balance["requested"], balance["balanced"]) == (ASKED, True)
    grouped = {
        (group["reason"], group["code"], group["retryable"]): group["count"] for group in told["story"]["errors"]
    }
    wanted = [(reason, code, retryable) for reason, code, _, retryable in case.errors.values()]
    assert grouped == {key: wanted.count(key) for key in wanted}


def test_status_tells_every_batch(story: Story) -> None:
    """The backlog: each batch with its status, and each group's counts balance."""
    told = command("status", "--json").json
    statuses = {row["batch_id"]: row["status"] for row in told["batches"]}
    assert statuses == {name: case.status for name, case in ENDED.items()} | dict.fromkeys(LIVE, "PENDING")
    for group in told["backlog"]:
        if group["status"] != "PENDING":
            assert group["requested"] == group["embedded"] + group["failed"] + group["unfinished"]
