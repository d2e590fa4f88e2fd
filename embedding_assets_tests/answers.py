"""Lines of OpenAI's input, output and error files, byte for byte as a test wants them."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Sequence
from typing import Any

from embedding_assets_tests.deltas import MODEL


def line(value: Any) -> str:
    """One line of JSON, characters as they are."""
    return json.dumps(value, ensure_ascii=False) + "\n"


def encoded(vector: Sequence[float]) -> str:
    """A vector as OpenAI gives it under `encoding_format: base64`."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def answer(custom_id: str, response: Any, error: Any = None) -> str:
    """A line of an output or error file."""
    return line({"id": f"batch_req_{custom_id}", "custom_id": custom_id, "response": response, "error": error})


def output_line(custom_id: str, vector: Any, *, model: str | None = MODEL, status_code: int = 200) -> str:
    """A good answer; `vector` a sequence of numbers, or base64."""
    delivered = vector if isinstance(vector, str) else list(vector)
    data = [{"object": "embedding", "index": 0, "embedding": delivered}]
    body = {"object": "list", "data": data, "model": model, "usage": {"prompt_tokens": 1, "total_tokens": 1}}
    return answer(custom_id, {"status_code": status_code, "request_id": "r", "body": body})


def several_line(custom_id: str, vectors: Sequence[Sequence[float]]) -> str:
    """An answer with a vector for each of several inputs, the last one first."""
    data = [
        {"object": "embedding", "index": index, "embedding": list(vectors[index])}
        for index in reversed(range(len(vectors)))
    ]
    body = {"object": "list", "data": data, "model": MODEL}
    return answer(custom_id, {"status_code": 200, "request_id": "r", "body": body})


def failed_line(custom_id: str, code: str = "server_error", status_code: int = 500) -> str:
    """A request that OpenAI could not answer: the error is in the body, the top-level one is null."""
    error = {"message": "The server had an error", "type": "server_error", "param": None, "code": code}
    return answer(custom_id, {"status_code": status_code, "request_id": "r", "body": {"error": error}})


def unfinished_line(custom_id: str, code: str = "batch_expired") -> str:
    """A request that OpenAI did not come to."""
    return answer(custom_id, None, {"code": code, "message": "This request could not be executed in time."})


def input_lines(custom_ids: Sequence[str], **body: Any) -> str:
    """An input file; the text of a request is `text of {custom_id}`."""
    return "".join(
        line(
            {
                "custom_id": custom_id,
                "method": "POST",
                "url": "/v1/embeddings",
                "body": {"model": MODEL, "input": f"text of {custom_id}", **body},
            }
        )
        for custom_id in custom_ids
    )
