"""Validation of a batch's input file, as OpenAI does it before a batch starts.

Codes and wording are those that OpenAI was observed to give (`invalid_json_line`, `invalid_url`,
`duplicate_custom_id`, `missing_required_parameter`, `model_not_found`, `mismatched_model`, `empty_file`) or
documents (`too_many_tasks`); `file_too_large` is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import orjson

from embedding_assets.local.openai_embeddings import MODEL_DIMENSIONS
from embedding_assets.local.openai_plans import BatchError

MAX_REQUESTS = 50_000
MAX_INPUTS = 50_000
MAX_BYTES = 200 * 1024 * 1024
MAX_REPORTED_ERRORS = 100


@dataclass(frozen=True, slots=True)
class Entry:
    """One request of the input file, by where its line lies (bytes)."""

    custom_id: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class BatchInput:
    """What an input file holds; with `errors` the batch fails as a whole."""

    path: Path
    model: str | None
    entries: tuple[Entry, ...]
    errors: tuple[BatchError, ...]


def read_input(path: Path, endpoint: str) -> BatchInput:
    """Validate the file at `path` line by line; never holds more than a line in memory."""
    size = path.stat().st_size
    if size > MAX_BYTES:
        message = f"The batch input file has {size} bytes; the maximum is {MAX_BYTES}."
        return BatchInput(path, None, (), (BatchError(code="file_too_large", message=message),))
    reader = _Reader(endpoint)
    offset = 0
    with path.open("rb") as source:
        for number, line in enumerate(source, start=1):
            if line.strip():
                reader.take(line, number, offset)
            offset += len(line)
    return BatchInput(path, reader.model, tuple(reader.entries), reader.errors())


class _Reader:
    def __init__(self, endpoint: str) -> None:
        self.model: str | None = None
        self.entries: list[Entry] = []
        self._endpoint = endpoint
        self._seen: set[str] = set()
        self._errors: list[BatchError] = []
        self._lines = 0
        self._inputs = 0

    def errors(self) -> tuple[BatchError, ...]:
        if self._lines == 0:
            empty = "The batch input file is empty. Please ensure that the batch input file contains requests."
            return (BatchError(code="empty_file", message=empty),)
        if self._lines > MAX_REQUESTS:
            many = f"The batch input file contains too many requests. The limit is {MAX_REQUESTS}."
            return (BatchError(code="too_many_tasks", message=many),)
        if self._inputs > MAX_INPUTS:
            many = f"The batch input file contains too many embedding inputs. The limit is {MAX_INPUTS}."
            return (BatchError(code="too_many_tasks", message=many),)
        return tuple(self._errors[:MAX_REPORTED_ERRORS])

    def take(self, line: bytes, number: int, offset: int) -> None:
        self._lines += 1
        try:
            request = orjson.loads(line)
        except orjson.JSONDecodeError:
            request = None
        if not isinstance(request, dict):
            message = "This line is not parseable as valid JSON."
            self._errors.append(BatchError(code="invalid_json_line", message=message, line=number))
            return
        error = self._check(request, number)
        if error is not None:
            self._errors.append(error)
            return
        inputs = request["body"].get("input")
        self._inputs += len(inputs) if isinstance(inputs, list) else 1
        custom_id = str(request["custom_id"])
        self._seen.add(custom_id)
        self.entries.append(Entry(custom_id, offset, len(line)))

    def _check(self, request: dict[str, object], line: int) -> BatchError | None:
        def error(code: str, message: str, param: str) -> BatchError:
            return BatchError(code=code, message=message, param=param, line=line)

        for name in ("custom_id", "method", "url", "body"):
            if not request.get(name):
                return error("missing_required_parameter", f"Missing required parameter: '{name}'.", name)
        custom_id, body = request["custom_id"], request["body"]
        if not isinstance(custom_id, str):
            return error("invalid_type", "Invalid type for 'custom_id': expected a string.", "custom_id")
        if request["method"] != "POST":
            return error("invalid_method", "The method of a request must be 'POST'.", "method")
        if request["url"] != self._endpoint:
            message = "The URL provided for this request does not match the batch endpoint."
            return error("invalid_url", message, "url")
        if custom_id in self._seen:
            message = (
                f"The custom_id '{custom_id}' for this request is a duplicate of another request. "
                "The custom_id parameter must be unique for each request in a batch."
            )
            return error("duplicate_custom_id", message, "custom_id")
        if not isinstance(body, dict):
            return error("invalid_type", "Invalid type for 'body': expected an object.", "body")
        model = body.get("model")
        if not isinstance(model, str) or model not in MODEL_DIMENSIONS:
            message = f"The provided model '{model}' is not supported by the Batch API."
            return error("model_not_found", message, "body.model")
        if self.model is None:
            self.model = model
        if model != self.model:
            message = f"The provided model '{model}' does not match the batch's model '{self.model}'."
            return error("mismatched_model", message, "body.model")
        return None
