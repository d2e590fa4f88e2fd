"""`submit --now`: embedded at once, published like a batch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from embedding_assets_tests.cli.commands import GOOD, command, failed
from embedding_assets_tests.dagster_defs.runs.world import World


def test_from_the_file_to_the_version(world: World, file: Callable[..., Path]) -> None:
    """The price is reported before it is paid; one ingest publishes; the same text costs nothing then."""
    path = str(file(GOOD))
    sent = command("submit", "lines", path, "--now", "--yes", "--json")
    assert "1 request in 1 batch would be sent" in sent.stderr
    assert "answered at once, at twice the batch price" in sent.stderr
    [batch_id] = sent.json["batches"]
    assert command("ingest", "--json").json["marked"] == [batch_id]
    [row] = command("status", "--json").json["batches"]
    assert (row["status"], row["embedded_count"], row["openai_batch_id"]) == ("COMPLETED", 1, "local")
    story = command("status", "--batch", batch_id).stdout
    assert "submitted to OpenAI's embeddings endpoint, which answered at once" in story
    copied = command(
        "submit", "lines", str(file({**GOOD, "id": "two"}, name="two.jsonl")), "--now", "--yes", "--json"
    )
    assert (copied.json["sent"], copied.json["reused"], copied.json["price_usd"]) == (0, 1, 0.0)
    assert "twice" not in copied.stderr


def test_it_asks(world: World, file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal; elsewhere --yes is needed."""
    path = str(file(GOOD))
    assert command("submit", "lines", path, "--now").code == 2
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert command("submit", "lines", "-", "--now").code == 2
    monkeypatch.setattr(typer, "confirm", lambda *words, **options: False)
    assert "nothing was sent" in command("submit", "lines", path, "--now").stderr
    monkeypatch.setattr(typer, "confirm", lambda *words, **options: True)
    sent = command("submit", "lines", path, "--now").stdout
    assert sent.startswith("1 request in 1 batch sent: 1 token, 0.000000020 USD")
    assert "0 requests in 0 batches" in command("submit", "lines", path, "--now", "--dry-run").stdout
    assert failed("submit", "lines", "no-such-file", "--now", "--yes")
