"""Files with odd lines, from the command line: each costs its own request at most, and no batch beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import openai
import pytest

from embedding_assets.bucket.keys import errors_key, records_key
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.answers import answer, failed_line, line, output_line, several_line
from embedding_assets_tests.cli.commands import SECRETS, Outcome, command
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.world import World, open_world
from embedding_assets_tests.deltas import MODEL
from embedding_assets_tests.reference import Expected, reference_digest

X, Y, Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
MANY = 8000
NOT_JSON = "This line is not parseable as valid JSON."


@dataclass(frozen=True)
class Case:
    """A batch, and what must come of it: what is published, and the code of each other request, by id."""

    planted: Mapping[str, Any]
    published: Sequence[Expected] = ()
    codes: Sequence[tuple[str, str]] = ()
    records: str | None = None
    row: Mapping[str, Any] = field(default_factory=dict)
    status: str = "COMPLETED"


def sent(custom_id: Any, body: Any) -> str:
    """A line of an input file."""
    return line({"custom_id": custom_id, "method": "POST", "url": "/v1/embeddings", "body": body})


def asking(text: Any) -> dict[str, Any]:
    return {"model": MODEL, "input": text}


VLLM = {"object": "error", "message": "context is too long", "type": "BadRequestError", "param": None, "code": 400}

CASES: dict[str, Case] = {
    "several-vectors": Case(
        {"output": several_line("m-0", [X, Y]) + several_line("m-1", [Z])},
        [Expected("m-1", Z, "gamma", None)],
        [("m-0", "several_vectors")],
        line({"id": "m-0", "document": "alpha beta"}) + line({"id": "m-1", "document": "gamma"}),
        {"request_count": 2},
    ),
    "one-vector-for-two-texts": Case(
        {
            "input": sent("n-0", asking(["alpha", "beta"])) + sent("n-1", asking(["gamma"])),
            "output": output_line("n-0", X) + output_line("n-1", Y),
        },
        [Expected("n-1", Y, "gamma", None)],
        [("n-0", "several_inputs")],
    ),
    "token-ids": Case(
        {
            "input": sent("t-0", asking([101, 2023, 102])) + sent("t-1", asking("plain text")),
            "output": output_line("t-0", X) + output_line("t-1", Y),
        },
        [Expected("t-0", X, None, None), Expected("t-1", Y, "plain text", None)],
    ),
    "no-body": Case(
        {
            "input": sent("b-0", asking("fine")) + line({"custom_id": "b-1", "method": "POST"}),
            "output": output_line("b-0", X),
            "errors": failed_line("b-1", "missing_required_parameter", 400),
        },
        [Expected("b-0", X, "fine", None)],
        [("b-1", "missing_required_parameter")],
    ),
    "no-text": Case(
        {
            "input": sent("x-0", asking(7)) + sent("x-1", {"model": MODEL}) + sent(8, asking("eight")),
            "output": output_line("x-0", X)
            + output_line("x-1", Y)
            + output_line("8", Z).replace('"custom_id": "8"', '"custom_id": 8'),
        },
        [Expected("x-0", X, None, None), Expected("x-1", Y, None, None), Expected("8", Z, "eight", None)],
    ),
    "marked": Case(
        {"output": "\ufeff" + output_line("bom-0", X)},
        [Expected("bom-0", X, "d", None)],
        records="\ufeff" + line({"id": "bom-0", "document": "d"}),
        row={"request_count": 1},
    ),
    "bad-metadata": Case(
        {"output": "".join(output_line(f"r-{number}", vector) for number, vector in enumerate((X, Y, Z)))},
        [Expected("r-1", Y, "d", None), Expected("r-2", Z, "d", None)],
        [("r-0", "metadata_refused")],
        line({"id": "r-0", "document": "d", "metadata": {"tags": []}})
        + line({"id": "r-1", "document": "d"})
        + line({"id": "r-2", "document": "d"}),
        {"request_count": 3},
    ),
    "broken-records": Case(
        {"output": "".join(output_line(f"k-{number}", vector) for number, vector in enumerate((X, Y, Z)))},
        [Expected("k-0", X, "d", None)],
        [("k-1", "malformed_request"), ("", "malformed_request"), ("k-0", "duplicate_id")],
        line({"id": "k-0", "document": "d"}) * 2 + '{"id": "k-1", "docum\n' + '{"document": "d", "id": "k-2\n',
        {"request_count": 4},
    ),
    "other-words": Case(
        {
            "input": sent("v-0", asking("a")) + sent("v-1", asking("b")),
            "output": output_line("v-0", X),
            "errors": answer("v-1", {"status_code": 400, "request_id": "r", "body": VLLM}),
        },
        [Expected("v-0", X, "a", None)],
        [("v-1", "BadRequestError")],
    ),
    "many-errors": Case(
        {
            "status": "failed",
            "input": "".join(sent(f"f-{number}", asking("t")) for number in range(MANY)),
            "batch_errors": [
                {"code": "invalid_json_line", "message": NOT_JSON, "line": number} for number in range(1, MANY + 1)
            ],
        },
        codes=[(f"f-{number}", "invalid_json_line") for number in range(MANY)],
        status="FAILED",
    ),
    "giant-error": Case(
        {
            "status": "failed",
            "input": sent("g-0", asking("t")),
            "fields": {"errors": {"data": [{"code": None, "message": "m" * 450_000}]}},
        },
        codes=[("g-0", "batch_failed")],
        status="FAILED",
    ),
    "good": Case(
        {"input": sent("good-0", asking("good")), "output": output_line("good-0", Z)},
        [Expected("good-0", Z, "good", None)],
    ),
}


@dataclass(frozen=True)
class Story:
    """One ingest of all cases."""

    world: World
    ingested: Outcome


@pytest.fixture(scope="module")
def story(
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Story]:
    """Plant every case, and a row without room, and ingest them."""
    with open_world(stack, aws, openai_clients[1], tmp_path_factory.mktemp("home"), **SECRETS) as world:
        for name, case in CASES.items():
            world.server.plant(f"openai-{name}", **case.planted)
            if case.records is not None:
                world.services.store.put(records_key(name), case.records.encode())
            world.put_row(name, **case.row)
        world.put_row("full", filler="x" * 400_000)
        yield Story(world, command("ingest", "--database", "lines", "--until-drained", "--json"))


def test_every_batch_ends_and_the_command_is_done(story: Story) -> None:
    """Nothing is set aside and nothing waits; the row without room is refused, and reported."""
    assert story.ingested.code == 0, story.ingested.stderr
    report = story.ingested.json
    failed = sorted(name for name, case in CASES.items() if case.status == "FAILED")
    assert sorted(report["failed"]) == failed
    assert sorted(report["marked"]) == sorted(CASES.keys() - failed)
    assert (report["set_aside"], report["refused"], report["waiting"]) == ([], ["full"], [])


@pytest.mark.parametrize("name", CASES)
def test_counts_balance(story: Story, name: str) -> None:
    """requested = embedded + failed + unfinished; what was requested is the number of lines."""
    case, row = CASES[name], story.world.row(name)
    counts = (row["embedded_count"], row["failed_count"], row["unfinished_count"])
    assert row["status"] == case.status
    assert (counts[0], counts[1] + counts[2]) == (len(case.published), len(case.codes))
    lines = (case.records or case.planted["input"]).splitlines()
    assert sum(counts) == row["request_count"] == len(lines)


@pytest.mark.parametrize("name", CASES)
def test_every_other_request_is_listed_with_its_code(story: Story, name: str) -> None:
    """A short line for each."""
    stored = story.world.services.store.find(errors_key(name))
    data = stored.data if stored is not None else b""
    errors = [json.loads(text) for text in data.splitlines()]
    assert sorted((one["id"], one["code"]) for one in errors) == sorted(CASES[name].codes)
    assert len(data) <= 500 * len(CASES[name].codes)


def test_exactly_the_vectors_that_somebody_vouches_for_are_published(story: Story) -> None:
    """Bit for bit, each under its id with its document."""
    wanted = [one for case in CASES.values() for one in case.published]
    manifest = story.world.published()
    assert (manifest.total_embeddings, manifest.content_digest) == (len(wanted), reference_digest(wanted))


def test_reasons_are_short_and_readable(story: Story) -> None:
    """In the row, and in what `status` says of the batch: what failed, how often, and how much is left out."""
    error = story.world.row("many-errors")["error"]
    assert error == f"invalid_json_line: {NOT_JSON} (line 1); … and 7,999 more"
    giant = story.world.row("giant-error")["error"]
    assert giant.endswith(" more characters")
    assert len(giant) <= 1000
    [group] = command("status", "--batch", "many-errors", "--json").json["story"]["errors"]
    assert (group["count"], group["message"], len(group["examples"])) == (MANY, NOT_JSON, 3)
    [group] = command("status", "--batch", "bad-metadata", "--json").json["story"]["errors"]
    assert group["message"].startswith("records/bad-metadata.jsonl line 1: metadata 'tags'")
    [group] = command("status", "--batch", "other-words", "--json").json["story"]["errors"]
    assert group["message"] == "context is too long"


def test_status_is_not_silent_about_a_row_without_room(story: Story) -> None:
    """It names the row and how full it is."""
    told = command("status")
    assert told.code == 0
    assert "the row of batch 'full' is refused: the row has 400," in " ".join(told.stderr.split())


def test_corrected_records_are_published_by_reprocessing(story: Story) -> None:
    """The answers are still there: nothing is sent again. Comes last, since it changes a batch."""
    world = story.world
    world.services.store.put(
        records_key("bad-metadata"),
        "".join(line({"id": f"r-{number}", "document": "d"}) for number in range(3)).encode(),
    )
    assert command("reprocess", "--batch", "bad-metadata").code == 0
    assert command("ingest", "--database", "lines", "--json").code == 0
    row = world.row("bad-metadata")
    assert (row["status"], row["embedded_count"], row["failed_count"]) == ("COMPLETED", 3, 0)
    wanted = [one for case in CASES.values() for one in case.published] + [Expected("r-0", X, "d", None)]
    assert world.published().content_digest == reference_digest(wanted)
