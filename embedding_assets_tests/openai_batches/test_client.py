"""The narrowed OpenAI client: what it tells of batches, and its errors as ours, without a word of the key."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import openai as openai_sdk
import pytest

from embedding_assets.errors import BatchError, NotFoundError, ServiceError, SettingsError, TransientError
from embedding_assets.local.stack import EmbeddedStack
from embedding_assets.openai_batches.batch_status import NOT_FOUND
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets_tests.answers import input_lines
from embedding_assets_tests.conftest import OpenAIServer
from embedding_assets_tests.deltas import MODEL

EPOCH = int(datetime(2026, 1, 2, 12, tzinfo=UTC).timestamp())
SECRET = "sk-proj-very-secret-0123456789"


def test_a_batch_as_openai_tells_it(openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """Instants in UTC, file ids, and the reasons of a failed batch."""
    openai_server.plant(
        "b1",
        status="failed",
        created_at=EPOCH,
        batch_errors=[{"code": "c", "message": "m"}, {"code": "d", "message": "n"}],
    )
    batch = openai.retrieve("b1")
    noon = datetime(2026, 1, 2, 12, tzinfo=UTC)
    assert (batch.id, batch.status, batch.created_at, batch.finished_at) == ("b1", "failed", noon, noon)
    assert (batch.output_file_id, batch.error_file_id) == (None, None)
    assert batch.errors == ("c: m", "d: n")
    assert (batch.error_code, batch.line_errors) == ("c", {})
    assert batch.terminal


def test_a_batch_that_ended_meanwhile_is_not_cancelled(openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """A conflict is an answer about this batch: nothing that may pass."""
    openai_server.plant("b1", status="in_progress")
    openai_server.fault("POST /v1/batches/{id}/cancel", status=409)
    with pytest.raises(BatchError, match=r"^cancelling batch b1 at OpenAI: it has ended, or is being cancelled$"):
        openai.cancel_batch("b1")


@pytest.mark.parametrize(
    ("status", "terminal"),
    [
        ("validating", False),
        ("in_progress", False),
        ("finalizing", False),
        ("cancelling", False),
        ("completed", True),
        ("failed", True),
        ("expired", True),
        ("cancelled", True),
    ],
)
def test_which_statuses_are_terminal(
    openai: OpenAIBatches, openai_server: OpenAIServer, status: str, terminal: bool
) -> None:
    """All eight of OpenAI's."""
    openai_server.plant("b1", status=status)
    assert openai.retrieve("b1").terminal is terminal


def test_an_unknown_batch_is_not_found_and_terminal(openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """404 is an answer, not an error."""
    batch = openai.retrieve("nobody")
    assert (batch.status, batch.terminal, batch.input_file_id) == (NOT_FOUND, True, None)


def test_empty_file_ids_mean_none(openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """OpenAI says `""` if there is no file."""
    openai_server.plant("b1", fields=dict.fromkeys(("input_file_id", "output_file_id", "error_file_id"), ""))
    batch = openai.retrieve("b1")
    assert (batch.input_file_id, batch.output_file_id, batch.error_file_id) == (None, None, None)


def test_the_list_ends_at_the_oldest_that_matters(openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """Newest first, all pages of 100, each once, and not a page further back than needed."""
    for number in range(250):
        openai_server.plant(f"b{number}", created_at=EPOCH + number)
    oldest = datetime.fromtimestamp(EPOCH, UTC)
    assert [one.id for one in openai.list_since(oldest)] == [f"b{number}" for number in range(249, -1, -1)]
    assert openai_server.requests("GET /v1/batches") == 3
    recent = [one.id for one in openai.list_since(oldest + timedelta(seconds=245))]
    assert recent == ["b249", "b248", "b247", "b246", "b245"]
    assert openai_server.requests("GET /v1/batches") == 4


def test_an_empty_list(openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """An account without batches."""
    assert list(openai.list_since(datetime.fromtimestamp(0, UTC))) == []


def test_a_download_is_streamed_whole(openai: OpenAIBatches, openai_server: OpenAIServer, tmp_path: Path) -> None:
    """Bytes and their sha256; the beat goes on while it lasts."""
    content = "ä\n" * 1_500_000
    planted = openai_server.plant("b1", output=content)
    beats: list[int] = []
    digest = openai.download(planted["output_file_id"], tmp_path / "file", lambda: beats.append(1))
    assert (tmp_path / "file").read_bytes() == content.encode()
    assert digest == hashlib.sha256(content.encode()).hexdigest()
    assert len(beats) >= 3


def test_a_missing_file_is_told(openai: OpenAIBatches, openai_server: OpenAIServer, tmp_path: Path) -> None:
    """As its own error, not tried again."""
    with pytest.raises(NotFoundError, match="file-none"):
        openai.download("file-none", tmp_path / "file")
    assert openai_server.requests("GET /v1/files/{id}/content") == 1


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        ({"status": 401}, ServiceError, "OPENAI_API_KEY"),
        ({"status": 403}, ServiceError, "OPENAI_API_KEY"),
        ({"status": 408}, TransientError, "408"),
        ({"status": 409}, TransientError, "409"),
        ({"status": 429, "code": "rate_limit_exceeded"}, TransientError, "rate_limit_exceeded"),
        ({"status": 500}, TransientError, "500"),
        ({"status": 503}, TransientError, "503"),
        ({"reset": True}, TransientError, "reached"),
        ({"status": 400, "code": "bad"}, ServiceError, "400 bad"),
    ],
)
def test_errors_are_ours(
    openai: OpenAIBatches, openai_server: OpenAIServer, fault: dict[str, Any], error: type[Exception], said: str
) -> None:
    """Passing or not is told by type; one line that says what was asked."""
    openai_server.fault("GET /v1/batches", times=None, **fault)
    with pytest.raises(error, match="listing") as raised:
        list(openai.list_since(datetime.fromtimestamp(0, UTC)))
    assert said in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
    assert isinstance(raised.value, TransientError) is (error is TransientError)


def test_a_refusal_of_one_batch_is_that_batchs(openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """OpenAI refuses its id: the others are not to blame."""
    openai_server.fault("GET /v1/batches/{id}", status=400, code="invalid_id")
    with pytest.raises(BatchError, match=r"b1.*400"):
        openai.retrieve("b1")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
def test_the_key_is_in_no_error(stack: EmbeddedStack, openai_server: OpenAIServer, status: int) -> None:
    """Also if OpenAI's own message repeats it."""
    openai_server.fault("*", times=None, status=status, message=f"Incorrect API key provided: {SECRET}")
    sdk = openai_sdk.OpenAI(base_url=stack.environment["OPENAI_BASE_URL"], api_key=SECRET, max_retries=0)
    with sdk, pytest.raises((ServiceError, TransientError)) as raised:
        OpenAIBatches(sdk).embed(["text"], MODEL, 8)
    assert SECRET not in str(raised.value)
    assert SECRET not in repr(raised.value)


def test_without_a_key_the_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing key is a setting, told before anything is asked."""
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(SettingsError, match="OPENAI_API_KEY is not set"):
        OpenAIBatches().retrieve("b1")


def test_a_batch_is_created_from_its_file(
    openai: OpenAIBatches, openai_server: OpenAIServer, tmp_path: Path
) -> None:
    """Uploaded for the embeddings endpoint, with its metadata; what comes back can be retrieved."""
    path = tmp_path / "requests.jsonl"
    path.write_text(input_lines(["a"], dimensions=8))
    created = openai.create_batch(openai.upload_requests(path), {"batch_id": "b1"})
    assert openai.retrieve(created.id).id == created.id
    assert openai_server.requests("POST /v1/files") == openai_server.requests("POST /v1/batches") == 1
    assert created.input_file_id is not None
    openai.download(created.input_file_id, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == path.read_bytes()


def test_a_batch_is_found_by_its_metadata(openai: OpenAIBatches, tmp_path: Path) -> None:
    """The oldest one that has all of it."""
    path = tmp_path / "requests.jsonl"
    path.write_text(input_lines(["a"], dimensions=8))
    file_id = openai.upload_requests(path)
    metadata = {"batch_id": "b1", "database": "lines"}
    first, _ = (openai.create_batch(file_id, metadata) for _ in range(2))
    openai.create_batch(file_id, {**metadata, "batch_id": "b2"})
    since = datetime.now(UTC) - timedelta(hours=1)
    found = openai.find_batch(metadata, since)
    assert found is not None
    assert found.id == first.id
    assert openai.find_batch({**metadata, "batch_id": "b3"}, since) is None
    assert openai.find_batch({**metadata, "database": "words"}, since) is None
    assert openai.find_batch(metadata, datetime.now(UTC) + timedelta(hours=1)) is None


@pytest.mark.parametrize("dimensions", [8, None])
def test_texts_are_embedded_at_once(
    openai: OpenAIBatches, openai_server: OpenAIServer, dimensions: int | None
) -> None:
    """One vector a text, in order, of the asked length or the model's own."""
    found = openai.embed(["one", "two", "one"], MODEL, dimensions)
    assert [len(one) for one in found] == [dimensions or 1536] * 3
    assert found[0] == found[2] != found[1]


def test_all_threads_share_one_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty that ask at once: each client of its own would read the certificates again."""
    monkeypatch.setenv("OPENAI_API_KEY", "fake")
    batches = OpenAIBatches()
    together = threading.Barrier(50)

    def ask(_: int) -> openai_sdk.OpenAI:
        together.wait()
        return batches.sdk

    with ThreadPoolExecutor(50) as pool:
        assert len({id(client) for client in pool.map(ask, range(50))}) == 1
