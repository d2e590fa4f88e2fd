"""`status` after a rollback: what is out again is still COMPLETED, and shown so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from embedding_assets.local.stack import EmbeddedStack
from embedding_assets_tests.cli.commands import command
from embedding_assets_tests.conftest import AwsClients
from embedding_assets_tests.dagster_defs.runs.world import World, open_world, texts


@pytest.fixture
def world(
    stack: EmbeddedStack, aws: AwsClients, openai_clients: tuple[openai.OpenAI, httpx.Client], tmp_path: Path
) -> Iterator[World]:
    """Two batches, a version each."""
    with open_world(stack, aws, openai_clients[1], tmp_path) as opened:
        for number, batch_id in enumerate(("first", "second")):
            opened.plant(batch_id, texts(batch_id, 2, number))
            assert opened.ingest().failures == []
        yield opened


def test_withdrawn_batches_are_shown(world: World) -> None:
    """In the JSON, in the list, and in the story of the one batch, with what brings it back."""
    assert command("status", "--json").json["batches"][0].get("withdrawn") is None
    version = command("snapshots", "rollback", "lines", "--json").json["version"]
    told = {row["batch_id"]: row for row in command("status", "lines", "--json").json["batches"]}
    assert {batch_id: row.get("withdrawn", False) for batch_id, row in told.items()} == {
        "first": False,
        "second": True,
    }
    assert told["second"]["status"] == "COMPLETED"
    assert "withdrawn by a rollback" in command("status").stdout
    story = command("status", "--batch", "second").stdout
    assert version in story
    assert "reprocess --batch second" in story
    assert command("status", "--batch", "second", "--json").json["batches"][0]["withdrawn"] is True
    assert "withdrawn" not in command("status", "--batch", "first").stdout
