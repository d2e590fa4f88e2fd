"""`status`: every outcome a batch can have, as a person and as a program read it."""

from __future__ import annotations

import contextlib
import io
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import openai
import pytest

from embedding_assets.cli import status_table
from embedding_assets.cli.output import STDOUT
from embedding_assets.ledger.batch_summary import format_instant
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.cli.commands import SECRETS, Outcome, command
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.world import World, error_line, open_world, texts
from embedding_assets_tests.operations.rows import row as row_of

LONG = "x" * 100
"""A batch id that fits no terminal."""


@dataclass(frozen=True)
class Told:
    """A world in which everything has happened, and the backlog as it is told there."""

    world: World
    backlog: Outcome
    document: dict[str, Any]

    def story(self, batch_id: str) -> dict[str, Any]:
        """The story of one batch, as fields."""
        told = command("status", "--batch", batch_id, "--json").json
        assert len(told["batches"]) == 1
        story: dict[str, Any] = told["story"]
        return story


@pytest.fixture(scope="module")
def told(
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Told]:
    """One batch for each row of the table of outcomes, ingested; and some that wait."""
    with open_world(stack, aws, openai_clients[1], tmp_path_factory.mktemp("home"), **SECRETS) as world:
        fill(world)
        assert world.ingest().failures == []
        late = format_instant(datetime.now(UTC) - timedelta(hours=21))
        fresh = format_instant(datetime.now(UTC))
        for status in ("validating", "in_progress", "finalizing", "cancelling"):
            world.plant(status, texts(status, 2), status=status, row={"submitted_at": fresh})
        world.plant("late", texts("late", 2), status="in_progress", row={"submitted_at": late})
        world.put_row("aside", set_aside="the model does not fit", error="the model does not fit")
        world.put_row("child", status="PENDING", parent_batch_id="expired", attempt=2, submitted_at=fresh)
        world.put_row("priced", submitted_at=fresh, token_count=3_000_000, model="text-embedding-3-small")
        yield Told(world, command("status"), command("status", "--json").json)


def fill(world: World) -> None:
    """The outcomes that an ingest brings to an end."""
    some = texts("some", 3)
    world.plant("good", texts("good", 3), kept=True)
    world.plant("some-failed", some, answered=some[:2], errors=error_line(some[2], "invalid_request", 400))
    broken = texts("every", 2)
    errors = "\n".join(error_line(one) for one in broken)
    world.plant("every-failed", broken, answered=[], errors=errors)
    part = texts("part", 3)
    world.plant("partly", part, status="expired", answered=part[:1])
    world.plant("expired", texts("expired", 2), status="expired", answered=[], row={"resubmitted_as": "child"})
    cut = texts("cut", 2)
    world.plant("cut", cut, status="cancelled", answered=cut[:1])
    world.plant("cancelled", texts("cancelled", 2), status="cancelled", answered=[])
    world.plant("refused", texts("refused", 2), status="failed", answered=[])
    world.put_row("unknown")
    world.plant(LONG, texts("long", 1))


@pytest.mark.parametrize(
    ("batch_id", "status", "balance", "action"),
    [
        ("good", "COMPLETED", (3, 3, 0, 0), None),
        ("some-failed", "COMPLETED", (3, 2, 1, 0), None),
        ("every-failed", "FAILED", (2, 0, 2, 0), "resubmit --batch every-failed"),
        ("partly", "EXPIRED", (3, 1, 0, 2), "resubmit --batch partly"),
        ("expired", "EXPIRED", (2, 0, 0, 2), "status --batch child"),
        ("cut", "CANCELLED", (2, 1, 0, 1), "resubmit --batch cut"),
        ("cancelled", "CANCELLED", (2, 0, 0, 2), "resubmit --batch cancelled"),
        ("aside", "PENDING", (None, None, None, None), "reset --batch aside --status PENDING"),
        ("validating", "PENDING", (None, None, None, None), "ingest"),
        ("late", "PENDING", (None, None, None, None), "ingest"),
    ],
)
def test_each_outcome_balances_and_goes_on(
    told: Told, batch_id: str, status: str, balance: tuple[int | None, ...], action: str | None
) -> None:
    """Requested = embedded + failed + unfinished, and the command that helps; the same line for a person."""
    story = told.story(batch_id)
    assert told.world.row(batch_id)["status"] == status
    counts = story["balance"]
    assert tuple(counts[name] for name in ("requested", "embedded", "failed", "unfinished")) == balance
    assert counts["balanced"] is (None if None in balance else True)
    assert story["next"]["command"] == (f"embedding-assets {action}" if action else None)
    text = command("status", "--batch", batch_id).stdout
    assert status in text
    assert story["next"]["why"] in text
    if counts["balanced"]:
        requested, embedded, failed, unfinished = balance
        line = f"requested {requested} = {embedded} embedded + {failed} failed + {unfinished} unfinished"
        assert line in text


@pytest.mark.parametrize("batch_id", ["unknown", "refused"])
def test_a_batch_that_came_to_nothing_says_why(told: Told, batch_id: str) -> None:
    """FAILED with its reason, and no command that could not help."""
    assert told.world.row(batch_id)["status"] == "FAILED"
    text = command("status", "--batch", batch_id).stdout
    assert str(told.world.row(batch_id)["error"]) in text
    assert told.story(batch_id)["published"] is None


def test_where_everything_of_a_batch_is(told: Told) -> None:
    """Each artefact with its address and whether it is there; the version that published it."""
    world = told.world
    story = told.story("some-failed")
    result = world.json("poll_results/some-failed/result.json")
    version = world.published().version
    assert {name: (place["location"], place["there"]) for name, place in story["artefacts"].items()} == {
        "records": (f"s3://{world.bucket}/records/some-failed.jsonl", False),
        "poll_result": (f"s3://{world.bucket}/poll_results/some-failed/result.json", True),
        "errors": (f"s3://{world.bucket}/poll_results/some-failed/errors.jsonl", True),
        "delta": (f"s3://{world.bucket}/{result['delta_key']}", True),
        "version": (f"s3://{world.bucket}/lines/snapshot/versions/{version}/", True),
    }
    assert story["published"]["version"] == version
    assert (story["published"]["in_chain"], story["published"]["marked"]) == (True, True)
    assert told.story("good")["artefacts"]["records"]["there"] is True


def test_errors_are_told_by_code(told: Told) -> None:
    """How many of which code, whether a retry can help, and which."""
    (group,) = told.story("some-failed")["errors"]
    assert (group["count"], group["code"], group["retryable"]) == (1, "invalid_request", False)
    assert group["examples"] == ["some2"]
    (group,) = told.story("every-failed")["errors"]
    assert (group["count"], group["retryable"]) == (2, True)
    assert "2 failed: server_error, a retry can help" in command("status", "--batch", "every-failed").stdout


def test_the_timeline_goes_from_submission_to_mark(told: Told) -> None:
    """In order; a parent knows its child and the child its parent."""
    timeline = told.story("good")["timeline"]
    words = [one["what"].split()[0] for one in timeline]
    assert words == ["submitted", "planned", "polled:", "published", "marked"]
    assert [one["at"] for one in timeline] == sorted(one["at"] for one in timeline)
    assert "parent: batch expired, EXPIRED" in command("status", "--batch", "child").stdout
    attempts = [attempt["batch_id"] for attempt in told.story("expired")["attempts"]]
    assert attempts == ["expired", "child"] == [one["batch_id"] for one in told.story("child")["attempts"]]


def test_the_backlog_by_database_and_status(told: Told) -> None:
    """Sums by group; the contract's names stay."""
    assert told.document["counts"] == {"PENDING": 8, "COMPLETED": 3, "FAILED": 3, "EXPIRED": 2, "CANCELLED": 2}
    by_status = {group["status"]: group for group in told.document["backlog"]}
    assert {group["database"] for group in by_status.values()} == {"lines"}
    done = by_status["COMPLETED"]
    assert [done[name] for name in ("batches", "requested", "embedded", "failed", "unfinished")] == [3, 7, 6, 1, 0]
    pending = by_status["PENDING"]
    assert (pending["requested_unknown"], pending["cost_usd"], pending["cost_unknown"]) == (8, 0.03, 7)
    assert "cost unknown for 17 batches" in told.backlog.stdout
    assert "0.0300+" in told.backlog.stdout


def test_what_wants_attention_is_listed(told: Told) -> None:
    """Set aside and late ones first, each with its command; a warning past 20 hours."""
    remarks = {remark["batch_id"]: remark for remark in told.document["remarks"]}
    assert list(remarks)[:2] == ["aside", "late"]
    assert remarks["aside"]["command"] == "embedding-assets reset --batch aside --status PENDING"
    assert remarks["partly"]["command"] == "embedding-assets resubmit --batch partly"
    assert "good" not in remarks
    assert "expired" not in remarks, "it was submitted again"
    assert told.document["late"] == ["late"]
    assert "warning: still live: late (21 h)" in told.backlog.stderr
    assert "the model does not fit; `embedding-assets reset --batch aside" in told.backlog.stdout


def test_nothing_is_cut_off_or_wrapped_where_it_is_piped(told: Told) -> None:
    """A name that fits no terminal comes whole, and one remark is one line."""
    story = command("status", "--batch", LONG).stdout
    assert f"s3://{told.world.bucket}/poll_results/{LONG}/result.json" in story
    assert "…" not in story + told.backlog.stdout
    lines = told.backlog.stdout.splitlines()
    assert sum(line.startswith("aside  PENDING") for line in lines) == 1
    assert max(map(len, lines)) > 100


def test_each_recommended_command_can_be_run(told: Told) -> None:
    """As it is printed: each ends with 0, and `reset` with a row that is no longer set aside."""
    remarks = told.document["remarks"]
    commands = {remark["command"] for remark in remarks} | {told.story("cancelled")["next"]["command"]}
    ran = [shlex.split(line) for line in sorted(commands - {None}) if " ingest" not in line]
    assert {words[1] for words in ran} == {"reset", "resubmit", "status"}
    for program, *words in ran:
        dry = ["--dry-run"] if words[0] == "resubmit" else []
        assert program == "embedding-assets"
        assert command(*words, *dry).code == 0, words
    assert "set_aside" not in told.world.row("aside")
    told.world.put_row("aside", set_aside="the model does not fit", error="the model does not fit")


def test_one_line_for_each_batch(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest first; by status and by age; within 80 columns."""
    monkeypatch.setattr(STDOUT, "_width", 80)
    listed = command("status", "--list").stdout.splitlines()
    assert listed[0] == "lines: 18 batches"
    assert all(len(line) <= 80 for line in listed)
    assert [line.split()[1] for line in command("status", "--list", "-s", "EXPIRED").stdout.splitlines()[2:]] == [
        "EXPIRED",
        "EXPIRED",
    ]
    recent = command("status", "lines", "--since", "2h", "--json").json
    assert {row["batch_id"] for row in recent["batches"]} & {"late", "child"} == {"child"}
    assert command("status", "--since", "2999-01-01").stdout == "no batches\n"
    narrow = command("status", "lines").stdout.split("\n\n")[0]
    monkeypatch.setattr(STDOUT, "_width", 200)
    assert narrow.split() == command("status", "lines").stdout.split("\n\n")[0].split(), "nothing is cut or folded"


@pytest.mark.parametrize(
    "arguments",
    [["--since", "yesterday"], ["--watch", "--json"], ["--batch", "good", "--list"]],
    ids=" ".join,
)
def test_what_does_not_go_together_is_wrong_usage(told: Told, arguments: list[str]) -> None:
    """One line that says so."""
    assert command("status", *arguments).code == 2


def test_watching_ends_with_the_last_live_batch(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is piped it prints what changed, once; with batches that have ended it is over at once."""
    looks = [[row] for row in (row_of("PENDING"), row_of("PENDING"), row_of("COMPLETED"))]
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        status_table.watch_rows(lambda: looks.pop(0), {"LINE_EMBEDDING": "lines"}, as_list=True)
    assert [line.split()[1] for line in printed.getvalue().splitlines() if line.startswith("b ")] == [
        "PENDING",
        "COMPLETED",
    ]
    assert pauses == [status_table.WATCH_SECONDS] * 2
    assert command("status", "--watch", "--status", "COMPLETED").code == 0


def test_only_one_database(told: Told) -> None:
    """Another database has no batches; that is said, not shown as an empty table."""
    assert command("status", "words").stdout == "no batches\n"
    assert command("status", "words", "--json").json["backlog"] == []


def test_what_cannot_be_read_is_not_told(told: Told) -> None:
    """A broken poll result stops no story: what is known otherwise is told."""
    store = told.world.services.store
    told.world.put_row("broken", status="EXPIRED", embedded_count=1, failed_count=0, unfinished_count=1)
    store.put("poll_results/broken/result.json", b"{")
    store.put("poll_results/broken/errors.jsonl", b"{\n")
    story = told.story("broken")
    assert (story["balance"]["requested"], story["errors"][0]["code"]) == (2, "unreadable_line")
