"""Batches opened again when OpenAI has forgotten them: an intact delta is used, what is published stays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx
import openai
import pytest

from embedding_assets.bucket.keys import errors_key, records_key
from embedding_assets.dagster_defs.runs.ingest import IngestReport
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets.versions.manifest import VersionManifest
from embedding_assets_tests.cli.commands import SECRETS, command
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.world import Item, World, error_line, open_world
from embedding_assets_tests.outcomes.cases import asked, record_lines
from embedding_assets_tests.reference import reference_digest

ENDED = {
    "intact": ("COMPLETED", 4, 0, 0),
    "unknown": ("COMPLETED", 3, 1, 0),
    "deleted": ("COMPLETED", 4, 0, 0),
    "corrupt": ("COMPLETED", 4, 0, 0),
    "expired": ("EXPIRED", 2, 0, 2),
    "cancelled": ("CANCELLED", 1, 0, 3),
    "by-hand": ("COMPLETED", 4, 0, 0),
    "nothing": ("EXPIRED", 0, 0, 4),
}
"""How the batches end at first: status, embedded, failed, unfinished."""
STAYS = ("unknown", "deleted", "corrupt", "expired", "cancelled", "by-hand")
"""Published, and opened again when neither OpenAI's output nor the delta is there.

Another program opened `by-hand`: its generation is what it was, but its row names the version.
"""
UNKNOWN = ("intact", "unknown", "expired", "nothing", "by-hand")
"""OpenAI forgets these; of the others, it deletes the output."""
COUNTS = (
    "embedded_count",
    "failed_count",
    "unfinished_count",
    "request_count",
    "snapshot_version",
    "execution_id",
)
ROUTES = ("GET /v1/batches", "GET /v1/batches/{id}", "GET /v1/files/{id}/content")


@dataclass(frozen=True)
class Story:
    """Everything ingested, OpenAI's side of it lost, everything opened again, and ingested once more."""

    world: World
    before: dict[str, Item]
    errors_before: dict[str, bytes | None]
    first: VersionManifest
    report: IngestReport
    traffic_of_third: tuple[int, ...]


@pytest.fixture(scope="module")
def story(
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Story]:
    """The batches of `ENDED`, and one that another program had completed in its own way."""
    with open_world(stack, aws, openai_clients[1], tmp_path_factory.mktemp("home"), **SECRETS) as world:
        planted = fill(world)
        assert world.ingest().failures == []
        first = world.published()
        before = world.rows()
        errors_before = {name: errors(world, name) for name in ENDED}
        lose(world, planted)
        foreign: dict[str, Any] = {
            "status": "COMPLETED",
            "embedded_count": 7,
            "failed_count": 0,
            "unfinished_count": 0,
        }
        world.put_row("foreign", **foreign)
        row = before["BATCH#by-hand"]
        world.put_row("by-hand", status="PENDING", **{name: _plain(row[name]) for name in COUNTS})
        names = [name for name in [*ENDED, "foreign"] if name != "by-hand"]
        assert command("reprocess", *(part for name in names for part in ("--batch", name))).code == 0
        report = world.ingest(until_drained=True)
        world.server.order("counters/reset")
        assert world.ingest(until_drained=True).executions == []
        traffic = tuple(world.server.requests(route) for route in ROUTES)
        yield Story(world, before, errors_before, first, report, traffic)


def _plain(value: object) -> Any:
    return int(value) if isinstance(value, Decimal) else value


def fill(world: World) -> dict[str, Any]:
    """Plant the batches of `ENDED`; return their objects at OpenAI."""
    failed = error_line(asked("unknown")[3])
    planted = {
        "intact": world.plant("intact", asked("intact")),
        "unknown": world.plant("unknown", asked("unknown"), answered=asked("unknown")[:3], errors=failed),
        "deleted": world.plant("deleted", asked("deleted")),
        "corrupt": world.plant("corrupt", asked("corrupt")),
        "by-hand": world.plant("by-hand", asked("by-hand")),
        "nothing": world.plant("nothing", asked("nothing"), status="expired", answered=[]),
    }
    for name, status, answered in (("expired", "expired", 2), ("cancelled", "cancelled", 1)):
        planted[name] = world.plant(name, asked(name), status=status, answered=asked(name)[:answered])
    return planted


def lose(world: World, planted: dict[str, Any]) -> None:
    """OpenAI forgets batches or deletes outputs; every delta goes but that of `intact`, and one loses a byte."""
    store = world.services.store
    for name in UNKNOWN:
        world.server.forget_batch(f"openai-{name}")
    for name in ("deleted", "corrupt", "cancelled"):
        world.server.delete_file(planted[name]["output_file_id"])
    store.put(records_key("unknown"), record_lines("unknown"))
    for name in STAYS:
        delta = world.json(f"poll_results/{name}/result.json")["delta_key"]
        store.delete([f"{delta}records.arrow"] if name == "corrupt" else list(world.keys(delta)))


def errors(world: World, name: str) -> bytes | None:
    """What `errors.jsonl` of a batch holds."""
    stored = world.services.store.find(errors_key(name))
    return stored.data if stored is not None else None


@pytest.mark.parametrize("name", ENDED)
def test_so_they_had_ended(story: Story, name: str) -> None:
    """The first ingest."""
    row = story.before[f"BATCH#{name}"]
    status, *counts = ENDED[name]
    assert row["status"] == status
    assert [row[count] for count in COUNTS[:3]] == counts


def test_an_intact_delta_is_used(story: Story) -> None:
    """The batch is published once more, as it was, and is COMPLETED without an error."""
    row = story.world.row("intact")
    assert (row["status"], row["embedded_count"], row["generation"]) == ("COMPLETED", 4, 1)
    assert "error" not in row
    manifest = story.world.published()
    assert (row["snapshot_version"], manifest.parent) == (manifest.version, story.first.version)
    assert [batch.batch_id for batch in manifest.batches] == ["intact"]


@pytest.mark.parametrize("name", STAYS)
def test_what_was_published_keeps_its_status(story: Story, name: str) -> None:
    """Status, counts, version and `errors.jsonl` are those of before; `error` says what is gone."""
    row, before = story.world.row(name), story.before[f"BATCH#{name}"]
    assert (row["status"], row["GSI1PK"]) == (before["status"], before["GSI1PK"])
    assert {count: row[count] for count in COUNTS} == {count: before[count] for count in COUNTS}
    assert row.get("generation", 0) == (0 if name == "by-hand" else 1)
    gone = "does not know" if name in UNKNOWN else "deleted the output"
    assert gone in row["error"]
    assert story.first.version in row["error"]
    assert errors(story.world, name) == story.errors_before[name]


def test_what_was_published_is_still_published(story: Story) -> None:
    """Not one record came or went."""
    delivered = {name: asked(name)[:count] for name, (_, count, *_) in ENDED.items()}
    wanted = [one for records in delivered.values() for one in records]
    assert story.world.published().content_digest == story.first.content_digest == reference_digest(wanted)


def test_one_that_never_had_an_embedding_has_failed(story: Story) -> None:
    """It was in no version; what became of each request stays on record, though nobody can ask for it again."""
    row = story.world.row("nothing")
    assert (row["status"], row["embedded_count"], row["unfinished_count"]) == ("FAILED", 0, 4)
    assert errors(story.world, "nothing") == story.errors_before["nothing"] is not None
    assert "does not know" in row["error"]


def test_what_another_program_completed_stays_completed(story: Story) -> None:
    """No version accounts for it: what its row said is believed, and kept."""
    row = story.world.row("foreign")
    assert (row["status"], row["embedded_count"], row["generation"]) == ("COMPLETED", 7, 1)
    assert "does not know" in row["error"]


def test_the_report_lists_as_failed_what_ended_so(story: Story) -> None:
    """Those that stay what they were have not failed."""
    assert story.report.failed == ["nothing"]
    assert story.report.marked == ["intact"]
    assert (story.report.waiting, story.report.failures) == ([], [])


def test_none_is_polled_again(story: Story) -> None:
    """Another ingest asks OpenAI nothing."""
    assert story.traffic_of_third == (0, 0, 0)


@pytest.mark.parametrize("name", [*STAYS, "nothing"])
def test_status_tells_it(story: Story, name: str) -> None:
    """Its status, its error, and counts that balance."""
    told = command("status", "--batch", name, "--json").json
    row = story.world.row(name)
    assert (told["batches"][0]["status"], told["batches"][0]["error"]) == (row["status"], row["error"])
    balance = told["story"]["balance"]
    parts = [int(row[count]) for count in COUNTS[:3]]
    assert [balance[part] for part in ("embedded", "failed", "unfinished")] == parts
    assert (balance["requested"], balance["balanced"]) == (sum(parts), True)
