"""The output and error file of a batch, with the faults that its plan orders."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson

from embedding_assets.local.embedders import Embedder
from embedding_assets.local.openai_embeddings import EmbeddingRequest, answer, parse_request, to_json
from embedding_assets.local.openai_errors import ApiError
from embedding_assets.local.openai_input import BatchInput, Entry
from embedding_assets.local.openai_plans import BatchPlan, RequestFault

NAN_MARK = b'"\\u0000NaN"'
UNFINISHED = {
    "batch_expired": "This request could not be executed before the completion window expired.",
    "batch_cancelled": "This request could not be executed because the batch was cancelled.",
}


@dataclass(frozen=True, slots=True)
class Answers:
    """What was written: numbers of lines, of requests answered well and not, and of tokens."""

    output_lines: int
    error_lines: int
    completed: int
    failed: int
    tokens: int


class Stopped(Exception):
    """The server ends, or the batch got another plan, before all requests were answered."""


def write_answers(
    batch: BatchInput,
    plan: BatchPlan,
    embedder: Embedder,
    seed: str,
    output: Path,
    errors: Path,
    stopped: Callable[[], bool],
) -> Answers:
    """Answer every request of `batch` into the files `output` and `errors`, in an order that `seed` decides.

    Raises Stopped soon after `stopped` turns true.
    """
    dice = random.Random(seed)
    fates = plan.assign([entry.custom_id for entry in batch.entries], dice)
    tasks = [(entry, 0) for entry in batch.entries]
    twice = {"duplicate", "conflicting_duplicate", "answered_and_failed"}
    tasks += [(entry, 1) for entry in batch.entries if (fate := fates.get(entry.custom_id)) and fate.kind in twice]
    if plan.shuffle:
        dice.shuffle(tasks)
    with batch.path.open("rb") as source, output.open("wb") as good, errors.open("wb") as bad:
        writer = _Writer(plan, embedder, seed, source, good, bad)
        for entry, copy in tasks:
            if stopped():
                raise Stopped
            writer.answer(entry, fates.get(entry.custom_id), copy)
        for custom_id in plan.unknown_ids:
            writer.answer_unknown(custom_id, batch.model or "text-embedding-3-small")
    return writer.written()


class _Writer:
    def __init__(
        self,
        plan: BatchPlan,
        embedder: Embedder,
        seed: str,
        source: BinaryIO,
        output: BinaryIO,
        errors: BinaryIO,
    ) -> None:
        self._unfinished_code = "batch_cancelled" if plan.status == "cancelled" else "batch_expired"
        self._embedder = embedder
        self._seed = seed
        self._source = source
        self._output = output
        self._errors = errors
        self._lines = {output: 0, errors: 0}
        self._completed = self._failed = self._tokens = 0

    def written(self) -> Answers:
        return Answers(
            self._lines[self._output], self._lines[self._errors], self._completed, self._failed, self._tokens
        )

    def answer(self, entry: Entry, fate: RequestFault | None, copy: int) -> None:
        kind = fate.kind if fate is not None else None
        if kind == "silent":
            return
        if kind == "unfinished":
            self._write_unfinished(entry.custom_id)
            return
        try:
            if fate is not None and (kind == "error" or (kind == "answered_and_failed" and copy == 1)):
                raise ApiError(fate.status_code, fate.message, code=fate.code)
            self._source.seek(entry.offset)
            request = parse_request(orjson.loads(self._source.read(entry.length))["body"])
        except ApiError as error:
            self._failed += copy == 0
            self._write_response(self._errors, entry.custom_id, copy, error.status_code, error.body)
            return
        self._completed += copy == 0
        self._tokens += request.tokens if copy == 0 else 0
        self._write_vectors(entry.custom_id, request, kind, copy)

    def answer_unknown(self, custom_id: str, model: str) -> None:
        request = parse_request({"model": model, "input": custom_id or "nothing"})
        self._write_vectors(custom_id, request, None, 0)

    def _write_vectors(self, custom_id: str, request: EmbeddingRequest, kind: str | None, copy: int) -> None:
        dimensions = request.dimensions - 1 if kind == "wrong_dimension" else request.dimensions
        texts = (
            [f"{text}\0second" for text in request.texts]
            if copy and kind == "conflicting_duplicate"
            else request.texts
        )
        vectors = self._embedder.embed(request.model, texts, dimensions)
        if kind == "empty_vector":
            vectors = np.empty((len(texts), 0), dtype=np.float32)
        if kind == "nan" and request.base64:
            vectors[:, 0] = np.nan
        if kind == "zeros":
            vectors = np.zeros_like(vectors)
        body = answer(request, vectors)
        if kind == "nan" and not request.base64:
            for item in body["data"]:
                item["embedding"] = ["\0NaN", *item["embedding"].tolist()[1:]]
        if kind == "no_data":
            body["data"] = []
        self._write_response(self._output, custom_id, copy, 200, body, cut=kind == "malformed")

    def _write_response(
        self,
        target: BinaryIO,
        custom_id: str,
        copy: int,
        status_code: int,
        body: dict[str, Any],
        cut: bool = False,
    ) -> None:
        token = hashlib.sha256(f"{self._seed}:{custom_id}:{copy}".encode("utf-8", "surrogatepass")).hexdigest()
        response = {"status_code": status_code, "request_id": token[32:], "body": body}
        line = {"id": f"batch_req_{token[:32]}", "custom_id": custom_id, "response": response, "error": None}
        written = to_json(line).replace(NAN_MARK, b"NaN")
        self._write_line(target, written[: len(written) // 2] if cut else written)

    def _write_unfinished(self, custom_id: str) -> None:
        token = hashlib.sha256(f"{self._seed}:{custom_id}".encode("utf-8", "surrogatepass")).hexdigest()
        error = {"code": self._unfinished_code, "message": UNFINISHED[self._unfinished_code]}
        line = {"id": f"batch_req_{token[:32]}", "custom_id": custom_id, "response": None, "error": error}
        self._write_line(self._errors, to_json(line))

    def _write_line(self, target: BinaryIO, line: bytes) -> None:
        target.write(line + b"\n")
        self._lines[target] += 1
