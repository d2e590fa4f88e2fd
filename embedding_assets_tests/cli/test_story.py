"""From records to search, as a person types it: a command with `--json` prints one document and nothing else."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chromadb
import httpx
import openai
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedding_assets.ledger.ids import is_batch_id
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.cli.commands import SECRETS, Outcome, command, failed
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.processes import start_command
from embedding_assets_tests.dagster_defs.runs.world import EXECUTION_ID, World, open_world, texts

MARKUP = "[/red] 2 [bold]coffee[/] \\[x]"
RECORDS: list[dict[str, Any]] = [
    {"id": "milk", "text": "one bottle of milk", "metadata": {"price": 1.5, "shop": "Größe"}},
    {"id": "bread", "text": "a loaf of bread", "document": "BREAD 1"},
    {"id": "coffee", "text": "coffee beans", "document": MARKUP},
]
EGGS = [{"id": "eggs", "text": "ten eggs"}]
PATIENCE_SECONDS = 30


@dataclass(frozen=True)
class Story:
    """What the commands said, in their order."""

    world: World
    folder: Path
    dry: Outcome
    submitted: Outcome
    again: Outcome
    before: Outcome
    ingested: Outcome
    nothing: Outcome
    after: Outcome

    @property
    def version(self) -> str:
        """The published version."""
        version: str = self.ingested.json["versions"]["lines"]
        return version


@pytest.fixture(scope="module")
def story(
    stack: EmbeddedStack,
    aws: AwsClients,
    openai_clients: tuple[openai.OpenAI, httpx.Client],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Story]:
    """Price, submit, submit again, look, ingest, ingest again, look."""
    folder = tmp_path_factory.mktemp("story")
    environment = {**SECRETS, "EMBEDDING_ASSETS_DIMENSIONS": "8"}
    lines, parquet = folder / "records.jsonl", folder / "eggs.parquet"
    lines.write_text("\n".join(json.dumps(record) for record in RECORDS), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(EGGS), parquet)
    submit = ("submit", "lines", str(lines), str(parquet), "--json")
    with open_world(stack, aws, openai_clients[1], folder / "home", **environment) as world:
        dry = command(*submit, "--dry-run")
        assert (world.keys(""), world.rows()) == (set(), {})
        submitted, again = command(*submit), command(*submit)
        wait_until_completed(world)
        world.put_row("a/b")
        before = command("status", "--json")
        ingested = as_a_process(world, "ingest", "--json")
        nothing, after = command("ingest", "--json"), command("status", "lines", "--json")
        yield Story(world, folder, dry, submitted, again, before, ingested, nothing, after)


def wait_until_completed(world: World) -> None:
    """Until OpenAI has finished with every batch."""
    wanted = [row["openai_batch_id"] for row in world.rows().values()]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not all(world.services.openai.retrieve(batch_id).terminal for batch_id in wanted):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def as_a_process(world: World, *arguments: str) -> Outcome:
    """A command as a process of its own: what it prints is all that comes out of its stdout."""
    process = start_command(arguments, dict(os.environ), world.home)
    process.join(120)
    assert process.exitcode is not None
    return Outcome(process.exitcode, (world.home / "stdout").read_text(), (world.home / "stderr").read_text())


def test_submit_tells_what_it_sent(story: Story) -> None:
    """A batch for each file, all requests, tokens and price; a dry run tells the same and sends nothing."""
    told = story.submitted.json
    amounts = {"requests", "sent", "reused", "skipped", "deletions", "deferred"}
    assert set(told) == {"batches", "tokens", "price_usd", *amounts}
    assert [told[name] for name in ("requests", "sent", "reused", "skipped")] == [4, 4, 0, 0]
    assert len(told["batches"]) == 2
    assert all(is_batch_id(batch_id) for batch_id in told["batches"])
    assert told["tokens"] > 4
    assert told["price_usd"] == pytest.approx(told["tokens"] * 0.01 / 1_000_000)
    assert story.dry.json == told


def test_what_was_submitted_is_not_sent_twice(story: Story) -> None:
    """The same files again: all skipped, no batch, no request."""
    nothing = dict.fromkeys(("requests", "sent", "reused", "tokens", "price_usd", "deletions", "deferred"), 0)
    assert story.again.json == {**nothing, "batches": [], "skipped": 4}
    assert len(story.before.json["batches"]) == 2


def test_what_was_submitted_is_on_record(story: Story) -> None:
    """`records/` has every record with its input's hash; the row asks for this model and these dimensions."""
    kept: dict[str, dict[str, Any]] = {}
    for batch_id in story.submitted.json["batches"]:
        lines = story.world.services.store.get(f"records/{batch_id}.jsonl").decode().splitlines()
        kept |= {record["id"]: record for record in map(json.loads, lines)}
        row = story.world.row(batch_id)
        assert (row["model"], int(row["dimensions"])) == ("text-embedding-3-small", 8)
    assert set(kept) == {"milk", "bread", "coffee", "eggs"}
    assert kept["milk"]["document"] == "one bottle of milk"
    assert kept["milk"]["metadata"] == {"price": 1.5, "shop": "Größe"}
    assert kept["bread"]["document"] == "BREAD 1"
    assert all(re.fullmatch("[0-9a-f]{64}", record["input_sha256"]) for record in kept.values())


def test_ingest_tells_its_report(story: Story) -> None:
    """The contract's names; one document on stdout, progress on stderr; exit code 0 though one is refused."""
    assert story.ingested.code == 0
    told = story.ingested.json
    (execution,) = told["executions"]
    assert re.fullmatch(EXECUTION_ID, execution)
    assert set(told["versions"]) == {"lines"}
    assert sorted(told["marked"]) == sorted(story.submitted.json["batches"])
    assert told["refused"] == ["a/b"]
    assert [told[name] for name in ("failed", "set_aside", "waiting")] == [[], [], []]
    assert f"lines: execution {execution} of 2 batches" in story.ingested.stderr.splitlines()


def test_ingest_with_nothing_ready_tells_that_too(story: Story) -> None:
    """Exit code 0, no execution, the version that is published."""
    assert story.nothing.code == 0
    told = story.nothing.json
    assert (told["executions"], told["marked"]) == ([], [])
    assert told["versions"] == {"lines": story.version}


def test_status_counts_and_lists(story: Story) -> None:
    """Counts by status and every row, before and after."""
    assert story.before.json["counts"] == {"PENDING": 2}
    assert story.after.json["counts"] == {"COMPLETED": 2}
    rows = {row["batch_id"]: row for row in story.after.json["batches"]}
    assert sorted(rows) == sorted(story.submitted.json["batches"])
    assert {row["snapshot_version"] for row in rows.values()} == {story.version}
    assert sum(row["embedded_count"] for row in rows.values()) == 4
    one = command("status", "--batch", next(iter(rows)), "--json").json
    assert one["counts"] == {"COMPLETED": 1}
    assert one["batches"] == [rows[next(iter(rows))]]


def test_search_finds_the_nearest(story: Story) -> None:
    """A text of the records finds its own record first, at distance zero, with all that the contract names."""
    told = command("search", "lines", "one bottle of milk", "-k", "2", "--json").json
    assert told["version"] == story.version
    assert len(told["hits"]) == 2
    first, second = told["hits"]
    assert set(first) == {"id", "distance", "document", "metadata", "batch_id"}
    assert (first["id"], first["document"]) == ("milk", "one bottle of milk")
    assert first["metadata"] == {"price": 1.5, "shop": "Größe"}
    assert first["batch_id"] in story.submitted.json["batches"]
    assert first["distance"] == pytest.approx(0, abs=1e-5)
    assert second["distance"] > first["distance"]
    everything = command("search", "lines", "milk", "-k", "100", "--json").json["hits"]
    assert sorted(hit["id"] for hit in everything) == ["bread", "coffee", "eggs", "milk"]


def test_versions_are_listed_and_shown(story: Story) -> None:
    """`list` gives manifests, newest first; `show` the published one, or the one asked for."""
    listed = command("snapshots", "list", "lines", "--json").json
    assert [manifest["version"] for manifest in listed] == [story.version]
    assert command("snapshots", "list", "words", "--json").json == []
    shown = command("snapshots", "show", "lines", "--json").json
    assert shown == listed[0] == story.world.json("lines/snapshot/latest/manifest.json")
    assert command("snapshots", "show", "lines", "--version", story.version, "--json").json == shown


def test_a_pulled_version_opens_in_chroma(story: Story, tmp_path: Path) -> None:
    """A directory for chromadb.PersistentClient, whole; one that is not empty is left as it is."""
    target = tmp_path / "new" / "pulled"
    told = command("snapshots", "pull", "lines", "--to", str(target), "--json").json
    assert told["version"] == story.version
    manifest = story.world.published()
    files = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert files == {file.path for file in manifest.files} | {"manifest.json"}
    assert told["bytes"] == sum(file.size for file in manifest.files)
    assert failed("snapshots", "pull", "lines", "--to", str(target)).startswith(str(target))
    assert {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()} == files
    client: Any = chromadb.PersistentClient(path=str(target))
    try:
        collection = client.get_collection("lines")
        assert sorted(collection.get()["ids"]) == ["bread", "coffee", "eggs", "milk"]
    finally:
        client.close()
    assert list(target.parent.iterdir()) == [target]


def test_what_a_person_reads_is_what_is_stored(story: Story) -> None:
    """Square brackets in a document are text, not markup: they neither vanish nor end the command."""
    outcome = command("search", "lines", "coffee beans", "-k", "1")
    assert outcome.code == 0, outcome.stderr
    assert MARKUP in outcome.stdout
    assert "coffee" in outcome.stdout


def test_reasons_of_others_are_shown_as_they_are(world: World) -> None:
    """The text of an error may have brackets too: in the backlog, and in the story of one batch."""
    world.plant("odd", texts("odd-", 1), row={"error": "no such path [/v1/x] in [list]"})
    for arguments in (("status",), ("status", "--batch", "odd")):
        outcome = command(*arguments)
        assert outcome.code == 0, outcome.stderr
        assert "[/v1/x] in [list]" in outcome.stdout
