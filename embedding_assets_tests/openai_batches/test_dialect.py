"""Servers of OpenAI's API that differ from OpenAI, and how long a server is asked to keep our files."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import openai as openai_sdk
import pytest

from embedding_assets.bucket.store import Store
from embedding_assets.databases import LINES
from embedding_assets.errors import ServiceError
from embedding_assets.ledger.ledger import Ledger
from embedding_assets.openai_batches.at_once import embed_at_once
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.openai_batches.dialect import Dialect
from embedding_assets.openai_batches.poll import Poller
from embedding_assets.operations.batch_story import files_kept
from embedding_assets.submission.parts import EmbeddingModel
from embedding_assets.submission.sender import Sender
from embedding_assets.submission.submit import Submission, Submitter
from embedding_assets.submission.tokens import Prices
from embedding_assets_tests.answers import line
from embedding_assets_tests.conftest import OpenAIServer

DAY = 86400
FIXED = "text-embedding-ada-002"
"""A model of the local server that refuses `dimensions`."""
READY_SECONDS = 30.0


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """A file of one record."""
    path = tmp_path / "records.jsonl"
    path.write_text(line({"id": "a", "text": "milk"}))
    return path


@pytest.fixture
def hourly(tmp_path: Path) -> Iterator[str]:
    """The address of a server that takes batches of one hour and no other."""
    ready = tmp_path / "ready"
    command = [sys.executable, "-m", "embedding_assets.local.openai_server", "--window", "1h"]
    process = subprocess.Popen([*command, "--ready-file", str(ready)])
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not ready.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield f"{ready.read_text('utf-8')}/v1"
    finally:
        process.terminate()
        process.wait()


def submitted(sender: Sender, asked: EmbeddingModel, file: Path) -> Submission:
    """What is submitted of a file."""
    return Submitter(sender, asked, prices=Prices(0.5)).submit([file])


def test_a_window_of_one_hour(hourly: str, records: Path, store: Store, ledger: Ledger) -> None:
    """The batch is taken, and ends; OpenAI's window is refused there. The price is that of the settings."""
    with openai_sdk.OpenAI(base_url=hourly, api_key="key", max_retries=0) as sdk:
        usual = OpenAIBatches(sdk)
        with pytest.raises(ServiceError, match="OpenAI answered 400"):
            submitted(Sender(store, ledger, usual, LINES, 1.0), EmbeddingModel(FIXED, None), records)
        openai = OpenAIBatches(sdk, dialect=Dialect(completion_window="1h"))
        sent = submitted(Sender(store, ledger, openai, LINES, 1.0), EmbeddingModel(FIXED, None), records)
        assert sent.price_usd == 0.5 * sent.tokens / 1_000_000
        poller = Poller(store, openai, LINES, "arrow")
        result = poller.poll(ledger.get(sent.batches[0]))
        while result.action == "wait":
            result = poller.poll(ledger.get(sent.batches[0]))
        assert result.embedding_count == 1


@pytest.mark.parametrize("sends", [True, False])
def test_dimensions_that_are_not_sent(
    sends: bool, openai: OpenAIBatches, records: Path, store: Store, ledger: Ledger
) -> None:
    """In a batch, at once and in a search: the server chooses the length, and ours is only checked."""
    other = OpenAIBatches(openai.sdk, dialect=Dialect(sends_dimensions=sends))
    sent = submitted(Sender(store, ledger, other, LINES, 1.0), EmbeddingModel(FIXED, 1536), records)
    poller = Poller(store, other, LINES, "arrow")
    row = ledger.get(sent.batches[0])
    result = poller.poll(row)
    while result.action == "wait":
        result = poller.poll(row)
    assert (result.embedding_count, result.failed_count) == ((0, 1) if sends else (1, 0))
    if sends:
        with pytest.raises(ServiceError, match="400"):
            other.embed(["milk"], FIXED, 1536)
        return
    assert len(other.embed(["milk"], FIXED, 1536)[0]) == 1536
    assert len(embed_at_once(other, ["milk", "bread"], FIXED, 1536, lambda line: None)) == 2


@pytest.mark.parametrize("asked", [0, 7 * DAY])
def test_how_long_files_are_kept(
    asked: int, openai: OpenAIBatches, openai_server: OpenAIServer, records: Path, store: Store, ledger: Ledger
) -> None:
    """The server has it of both files, the row has it too; 0 asks nothing, and the server's own rule holds."""
    dialect = Dialect(input_file_seconds=asked, output_file_seconds=asked)
    sender = Sender(store, ledger, OpenAIBatches(openai.sdk, dialect=dialect), LINES, 1.0)
    row = ledger.get(submitted(sender, EmbeddingModel(FIXED, None), records).batches[0])
    remote = openai.retrieve(row.openai_batch_id)
    while not remote.terminal:
        remote = openai.retrieve(row.openai_batch_id)
    for file_id in (remote.input_file_id, remote.output_file_id):
        stored = openai_server.control.get(f"/v1/files/{file_id}").json()
        assert stored["expires_at"] - stored["created_at"] == (asked or 30 * DAY)
    if not asked:
        assert (row.input_file_expires_at, row.output_file_seconds, files_kept(row)) == (None, None, None)
        return
    assert row.input_file_expires_at is not None
    assert abs(row.input_file_expires_at - datetime.now(UTC) - timedelta(seconds=asked)) < timedelta(minutes=1)
    assert row.output_file_seconds == asked
    assert (
        files_kept(row)
        == f"the input file until {row.input_file_expires_at:%Y-%m-%d %H:%M}Z and the output for 7d"
    )
