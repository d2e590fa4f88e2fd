"""The largest batch that OpenAI takes, 1 GB of output, and a server that answers for it from the disk."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from embedding_assets_tests.deltas import MODEL

REQUESTS = 50_000
DIMENSIONS = 1536
EVERY = 100
"""One request of so many failed."""
DRAWN = 256
"""Vectors drawn, in whose numbers the lines take turns: printing 77 million numbers takes minutes."""
AHEAD = 7919
"""Prime to the number of requests: the lines come in an order that is none."""

BATCH = "openai-full"
PATHS = {"output": "file-output", "errors": "file-errors", "input": "file-input"}


def write_full_batch(folder: Path) -> dict[str, int]:
    """Write output, errors and records of the batch; return how many requests were embedded and failed."""
    texts = [_vector_text(number) for number in range(DRAWN)]
    failed = 0
    with (folder / "output").open("w") as output, (folder / "errors").open("w") as errors:
        for step in range(REQUESTS):
            number = step * AHEAD % REQUESTS
            if number % EVERY:
                output.write(_good_line(number, texts))
            else:
                failed += 1
                errors.write(_failed_line(number))
    with (folder / "records").open("w") as records:
        for number in range(REQUESTS):
            records.write(json.dumps(_record(number)) + "\n")
    (folder / "input").touch()
    return {"embedded": REQUESTS - failed, "failed": failed}


def _vector_text(seed: int) -> list[str]:
    drawn = np.random.default_rng(seed).normal(size=DIMENSIONS)
    return [f"{number:.8f}" for number in drawn / np.linalg.norm(drawn)]


def _good_line(number: int, texts: list[list[str]]) -> str:
    numbers = texts[number % DRAWN]
    turn = number // DRAWN
    vector = ", ".join(numbers[turn:] + numbers[:turn])
    return (
        f'{{"id": "batch_req_{number:024x}", "custom_id": "{_id(number)}", "response": {{"status_code": 200, '
        f'"request_id": "{number:032x}", "body": {{"object": "list", "data": [{{"object": "embedding", '
        f'"index": 0, "embedding": [{vector}]}}], "model": "{MODEL}", "usage": {{"prompt_tokens": 9, '
        f'"total_tokens": 9}}}}}}, "error": null}}\n'
    )


def _failed_line(number: int) -> str:
    error = {"message": "The server had an error", "type": "server_error", "code": "server_error"}
    response = {"status_code": 500, "request_id": "r", "body": {"error": error}}
    return json.dumps({"id": "e", "custom_id": _id(number), "response": response, "error": None}) + "\n"


def _record(number: int) -> dict[str, Any]:
    text = f"line {number} of a receipt, with what was bought, how much of it, and what it was: " * 2
    metadata = {"image_id": f"{number:032x}", "line_id": number, "x": number / REQUESTS, "merchant": "a shop"}
    return {
        "id": _id(number),
        "text": text,
        "document": text,
        "metadata": metadata,
        "input_sha256": f"{number:064x}",
    }


def _id(number: int) -> str:
    return f"IMAGE#{number:032x}#RECEIPT#00001#LINE#{number:05}"


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """A server that knows this one batch; gives its base URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == f"/v1/batches/{BATCH}":
                self._answer(json.dumps(_batch_object()).encode())
                return
            name = next((name for name, file in PATHS.items() if self.path == f"/v1/files/{file}/content"), None)
            if name is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str((folder / name).stat().st_size))
            self.end_headers()
            with (folder / name).open("rb") as stream:
                while block := stream.read(1 << 20):
                    self.wfile.write(block)

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        finally:
            server.shutdown()
            thread.join()


def _batch_object() -> dict[str, Any]:
    instants = {f"{name}_at": 1767355200 for name in ("created", "in_progress", "finalizing", "completed")}
    return {
        "id": BATCH,
        "object": "batch",
        "endpoint": "/v1/embeddings",
        "completion_window": "24h",
        "status": "completed",
        "input_file_id": PATHS["input"],
        "output_file_id": PATHS["output"],
        "error_file_id": PATHS["errors"],
        **instants,
    }
