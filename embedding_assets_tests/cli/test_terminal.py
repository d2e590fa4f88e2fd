"""Nothing from outside commands the terminal: documents, ids, OpenAI's words, rows of other programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from embedding_assets.cli.output import print_json
from embedding_assets.databases import LINES
from embedding_assets_tests.cli.commands import command
from embedding_assets_tests.dagster_defs.runs.world import World
from embedding_assets_tests.deltas import DIMENSIONS, vector
from embedding_assets_tests.reference import Expected

CLIPBOARD = "\x1b]52;c;ZXZpbA==\x07"
CONTROL = f"{CLIPBOARD}\x9b2J\x7f\r\u202e"
SHOWN = "\\x1b]52;c;ZXZpbA==\\x07\\x9b2J\\x7f\\r\\u202e"
RECORDS = [
    Expected(f"id-{CONTROL}-{number}", vector(number, DIMENSIONS), f"say {CONTROL}", None) for number in range(2)
]


@pytest.fixture
def hostile(world: World) -> World:
    """A published version, a batch that OpenAI failed, one that is refused, each full of control characters."""
    world.plant("good", RECORDS)
    world.plant(
        "bad",
        RECORDS,
        status="failed",
        answered=[],
        batch_errors=[{"code": f"c{CONTROL}", "message": f"m{CONTROL}"}],
    )
    world.put_row("odd", status="PENDING", submitted_at=f"never{CONTROL}")
    return world


def test_no_command_passes_them_on(
    hostile: World, file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither on stdout nor on stderr, for a person or as JSON; a person sees what was there."""
    monkeypatch.setenv("OPENAI_BASE_URL", hostile.environment["OPENAI_BASE_URL"])
    printed = []
    for arguments in (
        ["ingest"],
        ["status"],
        ["status", "--json"],
        ["status", "--batch", "bad"],
        ["status", "--batch", "good"],
        ["status", "--batch", f"missing{CONTROL}"],
        ["search", "lines", f"text{CONTROL}"],
        ["search", "lines", "text", "--json"],
        ["snapshots", "show", "lines"],
        ["snapshots", "diff", "lines"],
        ["snapshots", "tag", "lines", f"tag{CONTROL}"],
        ["submit", "lines", str(file({"id": f"x{CONTROL}", "text": 5}))],
        [f"nonsense{CONTROL}"],
        ["--debug", "search", f"nonsense{CONTROL}", "text"],
    ):
        outcome = command(*arguments)
        for text in (outcome.stdout, outcome.stderr):
            assert {sign for sign in text if sign != "\n" and not sign.isprintable()} == set(), arguments
        printed.append(outcome.stdout + outcome.stderr)
    assert all(SHOWN in printed[number] for number in (3, 5, 6, 10))
    hits = json.loads(printed[7])["hits"]
    assert {hit["document"] for hit in hits} == {RECORDS[0].document}
    assert hostile.published(LINES).total_embeddings == 2


def test_json_has_no_exponents(capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers are written out; a text that looks like one stays."""
    print_json({"usd": 4.2e-7, "much": 1e20, "text": 'a "1e-7" 2E5', "list": [-1.5e-9]})
    printed = capsys.readouterr().out
    assert "0.00000042" in printed
    assert "100000000000000000000" in printed
    assert "-0.0000000015" in printed
    assert json.loads(printed)["text"] == 'a "1e-7" 2E5'
