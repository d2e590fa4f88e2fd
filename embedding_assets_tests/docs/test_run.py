"""The commands that the pages show are run, against the embedded servers, in an order that makes sense."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.cli.commands import command
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.world import World, open_world
from embedding_assets_tests.docs.pages import PAGES, ShownCommand, shown_commands

REFERENCES = ("commands.md", "contract.md", "CHANGELOG.md")
"""Pages that list commands instead of showing lines to type."""
RECORDS = 5
ELSEWHERE = {
    "demo": "cli/test_embedded_commands.py",
    "local": "cli/test_local.py",
    "serve": "cli/test_serve.py",
    "targets": "targets",
    "snapshots import": "upkeep/test_import.py",
    "snapshots rebuild": "upkeep/rebuild",
    "submit reviews": "test_databases.py",
    "submit lines records.jsonl --now": "submission: it asks on a terminal before it pays",
}
"""Commands that run until Ctrl-C, or need something else beside the servers, and where they are tested."""
ORDER = (
    "init",
    "doctor",
    "submit lines records.jsonl",
    "ingest",
    "search",
    "submit lines --delete-ids",
    "ingest",
    "status",
    "snapshots",
    "resubmit",
    "reprocess",
    "reset",
)
"""By their beginnings; each takes all commands that begin so."""


def typed() -> list[ShownCommand]:
    """Every command that somebody may copy from a page: whole, not planned, not tested elsewhere."""
    shown = [one for page in PAGES if page.name not in REFERENCES for one in shown_commands(page)]
    return [
        one
        for one in shown
        if one.line.code
        and not one.line.planned
        and not any(" ".join(one.words).startswith(name) for name in ELSEWHERE)
        and one.words != ("--help",)
    ]


@pytest.fixture
def world(
    stack: EmbeddedStack, aws: AwsClients, openai_clients: tuple[openai.OpenAI, httpx.Client], tmp_path: Path
) -> Iterator[World]:
    """A new table and bucket, the files that the pages name, and the folder as the working directory."""
    with open_world(stack, aws, openai_clients[1], tmp_path / "home") as opened:
        records = [{"id": f"r{number}", "text": f"text {number}"} for number in range(RECORDS)]
        Path("records.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
        Path("gone.ids").write_text("r0\n")
        yield opened


@pytest.mark.timeout(300)
def test_shown_commands_run(world: World) -> None:
    """Each ends with 0, as it is printed, but for the id of the batch; none is left out."""
    waiting = list(dict.fromkeys(one.words for one in typed()))
    assert len(waiting) > 15
    ran: list[tuple[str, ...]] = []
    good: str | None = None
    for beginning in ORDER:
        chosen = [words for words in waiting if " ".join(words).startswith(beginning)]
        for words in chosen:
            named = [_named(word, good) for word in words]
            outcome = command(*named)
            assert outcome.code == 0, (named, outcome.stderr)
            ran.append(words)
            if good is None and words[:2] == ("submit", "lines") and "--dry-run" not in words:
                good = world.services.ledger.ids_beginning_with("batch-", ["LINE_EMBEDDING"])[0]
    assert [words for words in waiting if words not in ran] == []


def _named(word: str, good: str | None) -> str:
    """A batch's id in place of `ID` or of the one that a page shows."""
    return good if good is not None and (word == "ID" or word.startswith("batch-")) else word
