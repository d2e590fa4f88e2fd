"""OpenAI in memory, behind the real SDK: batches that have ended, their files, and faults by seed."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from typing import Any

import openai

from embedding_assets.openai_batches.sdk import SDK_RETRIES
from embedding_assets_tests.rates.answers import refusal
from embedding_assets_tests.rates.backlog import Backlog
from embedding_assets_tests.rates.faults import Fault
from embedding_assets_tests.rates.logged import Weather

httpx = importlib.import_module(openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])
"""The transport that the SDK speaks through: `httpx` up to 2.x, `httpx2` from 3.x on."""

CREATED = 1_767_355_200
FILES = {"input": "input_file_id", "output": "output_file_id", "errors": "error_file_id"}


class Broken(httpx.SyncByteStream):  # type: ignore[misc, name-defined]
    """A body whose first half comes before its connection breaks."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __iter__(self) -> Iterator[bytes]:
        yield self._data[: len(self._data) // 2]
        raise httpx.ReadError("reset")


class MemoryOpenAI:
    """The batches of a backlog. `client` is the SDK's, which knows nothing of it."""

    def __init__(self, backlog: Backlog, weather: Weather) -> None:
        self._weather = weather
        self._files: dict[str, bytes] = {}
        self._batches: dict[str, dict[str, Any]] = {}
        for batch in backlog.batches:
            if batch.deletes:
                continue
            ids = {}
            for kind, text in batch.files.items():
                ids[FILES[kind]] = f"file-{kind}-of-{batch.batch_id}"
                self._files[f"file-{kind}-of-{batch.batch_id}"] = text.encode()
            counts = {"total": len(batch.records), "completed": batch.answered, "failed": batch.failed}
            self._batches[f"openai-{batch.batch_id}"] = {
                "id": f"openai-{batch.batch_id}",
                "object": "batch",
                "endpoint": "/v1/embeddings",
                "completion_window": "24h",
                "created_at": CREATED,
                "status": batch.status,
                "request_counts": counts,
                **ids,
            }

    @property
    def client(self) -> openai.OpenAI:
        """An SDK client that reaches this."""
        transport = httpx.MockTransport(self._answer)
        return openai.OpenAI(
            api_key="memory",
            base_url="http://memory/v1",
            max_retries=SDK_RETRIES,
            http_client=httpx.Client(transport=transport),
        )

    def _answer(self, request: Any) -> Any:
        with self._weather.call("openai", f"{request.method} {request.url.raw_path.decode()}") as fault:
            if fault is not None and fault.refuses:
                status, headers, body = refusal("openai", fault)
                return httpx.Response(status, headers=headers, content=body)
            if fault is Fault.RESET_BEFORE or fault is Fault.LOST:
                raise httpx.ReadError("reset")
            status, body = self._find(request.url.path, request.url.params)
            headers = {"content-type": "application/json"}
            if fault in (Fault.RESET_IN_BODY, Fault.CUT):
                return httpx.Response(status, headers=headers, stream=Broken(body))
            if fault is Fault.CUT_WITHOUT_LENGTH:
                body = body[: len(body) // 2]
            return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))

    def _find(self, path: str, params: Any) -> tuple[int, bytes]:
        match path.removeprefix("/v1/").split("/"):
            case ["batches"]:
                ids = list(self._batches)
                start = ids.index(params["after"]) + 1 if "after" in params else 0
                found = ids[start : start + int(params["limit"])]
                page = {"object": "list", "data": [self._batches[one] for one in found]}
                return 200, json.dumps({**page, "has_more": found[-1:] != ids[-1:]}).encode()
            case ["batches", batch_id] if batch_id in self._batches:
                return 200, json.dumps(self._batches[batch_id]).encode()
            case ["files", file_id, "content"] if file_id in self._files:
                return 200, self._files[file_id]
            case ["files", file_id] if file_id in self._files:
                about = {
                    "id": file_id,
                    "object": "file",
                    "bytes": len(self._files[file_id]),
                    "filename": "f.jsonl",
                }
                return 200, json.dumps({**about, "created_at": CREATED, "purpose": "batch_output"}).encode()
            case _:
                return 404, json.dumps({"error": {"message": "unknown", "type": "invalid_request_error"}}).encode()
