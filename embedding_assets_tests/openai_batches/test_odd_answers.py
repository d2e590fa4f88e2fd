"""Answers that are not what the API returns: bodies that are not whole, odd lists, pages of a proxy."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_none

from embedding_assets.errors import BatchError, TransientError, UnusableAnswerError
from embedding_assets.openai_batches import client
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets_tests.answers import input_lines, output_line
from embedding_assets_tests.conftest import OpenAIServer
from embedding_assets_tests.deltas import vector

CONTENT = "GET /v1/files/{id}/content"
FILE = "GET /v1/files/{id}"
LIST = "GET /v1/batches"
RETRIEVE = "GET /v1/batches/{id}"
LINES = [output_line(f"r{number}", vector(number)) for number in range(56)]
OUTPUT = "".join(LINES)
AT_A_LINES_END = len("".join(LINES[:43]))
PAGE = "<html><body>Please wait</body></html>"
CUTS: dict[str, dict[str, Any]] = {
    "connection closed at a line's end": {"unnoticed": "no_length", "truncate_after": AT_A_LINES_END},
    "compressed and cut": {"unnoticed": "gzip", "truncate_after": 600},
    "nothing, compressed": {"unnoticed": "gzip", "truncate_after": 0},
    "a page of HTML": {"text": PAGE},
    "an empty body": {"text": ""},
    "noticed by HTTP": {"truncate_after": AT_A_LINES_END},
}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other at once."""
    monkeypatch.setattr(client, "STREAM_WAIT", wait_none())


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("cut", CUTS)
def test_a_body_that_is_not_whole_is_fetched_again(
    openai: OpenAIBatches, openai_server: OpenAIServer, tmp_path: Path, cut: str
) -> None:
    """It has other bytes than the file object says: twice so, then whole."""
    file_id = openai_server.plant("b1", output=OUTPUT)["output_file_id"]
    openai_server.fault(CONTENT, times=2, **CUTS[cut])
    assert openai.download(file_id, tmp_path / "file") == digest(OUTPUT)
    assert (tmp_path / "file").read_text() == OUTPUT
    assert (openai_server.requests(CONTENT), openai_server.requests(FILE)) == (3, 1)


@pytest.mark.parametrize("cut", CUTS)
def test_tries_are_bounded(openai: OpenAIBatches, openai_server: OpenAIServer, tmp_path: Path, cut: str) -> None:
    """Always cut: after three tries the error may pass, and it says how much came."""
    file_id = openai_server.plant("b1", output=OUTPUT)["output_file_id"]
    openai_server.fault(CONTENT, times=None, **CUTS[cut])
    with pytest.raises(TransientError, match=r"\d+ bytes came|cannot be reached"):
        openai.download(file_id, tmp_path / "file")
    assert openai_server.requests(CONTENT) == 3


@pytest.mark.parametrize("which", ["input_file_id", "output_file_id", "error_file_id"])
def test_every_kind_of_file_must_be_whole(
    openai: OpenAIBatches, openai_server: OpenAIServer, tmp_path: Path, which: str
) -> None:
    """Output, errors and input alike."""
    planted = openai_server.plant("b1", input=input_lines(["r0"]), output=OUTPUT, errors=OUTPUT)
    openai_server.fault(CONTENT, contains=planted[which], unnoticed="no_length", truncate_after=30)
    openai.download(planted[which], tmp_path / "file")
    assert openai_server.requests(CONTENT) == 2


@pytest.mark.parametrize("unnoticed", ["no_length", "gzip"])
def test_a_whole_body_is_good_however_it_comes(
    openai: OpenAIBatches, openai_server: OpenAIServer, tmp_path: Path, unnoticed: str
) -> None:
    """Without a length, or compressed: the file object's bytes are those of the file itself."""
    file_id = openai_server.plant("b1", output=OUTPUT)["output_file_id"]
    openai_server.fault(CONTENT, unnoticed=unnoticed)
    assert openai.download(file_id, tmp_path / "file") == digest(OUTPUT)
    assert openai_server.requests(CONTENT) == 1


SAYS_NOTHING: dict[str, dict[str, Any]] = {
    "not there": {"status": 404},
    "null": {"text": '{"bytes": null}'},
    "absent": {"text": "{}"},
    "zero": {"text": '{"bytes": 0}'},
    "text": {"text": '{"bytes": "56"}'},
}


@pytest.mark.parametrize("says", SAYS_NOTHING)
def test_without_a_witness_http_must_say_where_a_body_ends(
    openai: OpenAIBatches, openai_server: OpenAIServer, tmp_path: Path, says: str
) -> None:
    """The file object does not say how many bytes: a body with a length counts, one that just ends does not."""
    file_id = openai_server.plant("b1", output=OUTPUT)["output_file_id"]
    openai_server.fault(FILE, times=None, **SAYS_NOTHING[says])
    assert openai.download(file_id, tmp_path / "file") == digest(OUTPUT)
    openai_server.fault(CONTENT, times=None, unnoticed="no_length", truncate_after=AT_A_LINES_END)
    with pytest.raises(TransientError, match="nothing says"):
        openai.download(file_id, tmp_path / "file")


@pytest.mark.parametrize("whole", [True, False])
def test_whether_a_file_is_there_is_asked_without_reading_it(
    openai: OpenAIBatches, openai_server: OpenAIServer, whole: bool
) -> None:
    """404 on its content means no."""
    file_id = openai_server.plant("b1", output=OUTPUT)["output_file_id"]
    if not whole:
        openai_server.delete_file(file_id)
    assert openai.has_content(file_id) is whole


ODD = {
    "id": "batch_of_somebody",
    "object": "batch",
    "endpoint": "/v1/chat/completions",
    "status": "COMPLETED",
    "input_file_id": "f",
    "completion_window": "24h",
    "created_at": "2026-11-25T10:00:00Z",
}


def listed(openai: OpenAIBatches) -> list[tuple[str, bool]]:
    """Every entry, and whether it is odd."""
    return [(one.id, one.odd is not None) for one in openai.list_since(datetime.fromtimestamp(0, UTC))]


def answer(server: OpenAIServer, value: object, route: str = LIST) -> None:
    """Answer the next request with this JSON."""
    server.fault(route, text=json.dumps(value), content_type="application/json")


@pytest.mark.parametrize(
    "odd",
    [ODD, {**ODD, "created_at": 1_764_064_800_000}, {**ODD, "created_at": None}, {**ODD, "status": 5}],
)
def test_an_odd_entry_takes_no_other_down(
    openai: OpenAIBatches, openai_server: OpenAIServer, odd: dict[str, Any]
) -> None:
    """Between ours: they are listed, and it says that it is odd."""
    good = {"id": "b1", "status": "completed", "created_at": 1_764_064_800}
    answer(openai_server, {"data": [{**good, "id": "b2"}, odd, good], "has_more": False})
    assert listed(openai) == [("b2", False), ("batch_of_somebody", True), ("b1", False)]


def test_pages_go_on_after_entries_without_an_id(openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """The last entry that has an id is where the next page begins; a page without any is the last one."""
    openai_server.plant("b1", created_at=1_764_064_800)
    newer = {"id": "b1", "status": "completed", "created_at": 1_764_064_801}
    answer(openai_server, {"data": [newer, None, "text", 5], "has_more": True})
    assert listed(openai) == [("b1", False), ("", True), ("", True), ("", True)]
    assert openai_server.requests(LIST) == 2
    answer(openai_server, {"data": [None, {}], "has_more": True})
    assert listed(openai) == [("", True), ("", True)]
    assert openai_server.requests(LIST) == 3


@pytest.mark.parametrize("value", [{"object": "list", "data": None}, {}, {"data": {}}, [], None, "text"])
def test_a_list_without_data_cannot_be_used(
    openai: OpenAIBatches, openai_server: OpenAIServer, value: object
) -> None:
    """One clear line, of an error that may pass."""
    answer(openai_server, value)
    with pytest.raises(UnusableAnswerError, match="listing OpenAI's batches: the answer "):
        listed(openai)


def test_a_page_of_html_is_no_list_and_no_batch(openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """A proxy answered with 200: that may pass, and is no batch's fault."""
    openai_server.fault(LIST, text=PAGE)
    with pytest.raises(UnusableAnswerError, match="not JSON"):
        listed(openai)
    openai_server.fault(RETRIEVE, text=PAGE)
    with pytest.raises(UnusableAnswerError, match="not JSON"):
        openai.retrieve("b1")


def test_a_retrieved_batch_may_be_odd(openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """What polling needs is read: status in any letter case, files, errors of any shape."""
    odd = {**ODD, "id": "b1", "output_file_id": "out", "errors": [{"code": 7}], "metadata": [1]}
    answer(openai_server, odd, RETRIEVE)
    batch = openai.retrieve("b1")
    assert (batch.id, batch.status, batch.output_file_id) == ("b1", "completed", "out")
    assert (batch.errors, batch.error_code, batch.metadata) == (("7",), "7", {})


def test_a_batch_without_a_status_is_that_batchs_failure(
    openai: OpenAIBatches, openai_server: OpenAIServer
) -> None:
    """OpenAI knows it and does not say how it is."""
    answer(openai_server, {"id": "b1", "status": None}, RETRIEVE)
    with pytest.raises(BatchError, match=r"b1: the answer cannot be used: status None"):
        openai.retrieve("b1")


@pytest.mark.parametrize("text", [PAGE, "{}", '{"id": null}'])
def test_a_created_batch_without_an_id_may_have_been_made(
    openai: OpenAIBatches, openai_server: OpenAIServer, text: str
) -> None:
    """As after a lost answer: it is looked for before it is made again. The same for an upload."""
    openai_server.fault("POST /v1/batches", text=text, content_type="application/json")
    with pytest.raises(TransientError):
        openai.create_batch("file", {"batch_id": "b1"})


def test_a_batch_is_found_behind_an_odd_instant(openai: OpenAIBatches, openai_server: OpenAIServer) -> None:
    """Its metadata counts: it is not paid for again because its entry is odd."""
    answer(openai_server, {"data": [{**ODD, "metadata": {"batch_id": "b1"}}], "has_more": False})
    found = openai.find_batch({"batch_id": "b1"}, datetime.now(UTC) - timedelta(days=1))
    assert found is not None
    assert found.id == "batch_of_somebody"
