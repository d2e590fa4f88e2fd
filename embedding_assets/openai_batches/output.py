"""OpenAI's output and error files, judged line by line by their content.

A line is judged by its `status_code`, its `body.error` and its vector, not by the top-level `error`, which is
null on some failures. Lines come out of order, duplicated, missing, broken or unknown.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
import pybase64

from embedding_assets.openai_batches.batch_status import IN_FILES
from embedding_assets.openai_batches.error_details import body_error, error_details
from embedding_assets.openai_batches.file_lines import numbered_lines
from embedding_assets.openai_batches.record_ids import usable_id
from embedding_assets.rows.arrow import Vector
from embedding_assets.text.bounded_text import NAME_CHARS, bounded

SAMPLE = 101
"""Lines looked at to learn the length of a batch's vectors if nothing tells it."""

CUSTOM_ID = re.compile(rb'"custom_id"\s*:\s*("(?:[^"\\]|\\.)*")')

NUMBERS = frozenset({int, float, type(None)})
"""What JSON numbers become; a null becomes NaN, which is reported as such."""

Reason = Literal["failed", "unfinished"]


@dataclass(frozen=True)
class Good:
    """An answer with a vector, `(dim,) float32` as delivered; `model` as OpenAI named it."""

    id: str
    vector: Vector
    model: str | None


@dataclass(frozen=True)
class Bad:
    """An answer without a usable vector, and why. `id` is None if the line does not even tell that."""

    id: str | None
    reason: Reason
    code: str
    message: str
    status_code: int | None = None


def read_answers(path: Path) -> Iterator[Good | Bad]:
    """Every line of an output or error file, one at a time; no line is skipped, no line raises."""
    for _, line in numbered_lines(path):
        yield judge(line)


def judge(line: bytes) -> Good | Bad:
    """What one line says."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            return Bad(_salvaged_id(line), "failed", "malformed_line", "the line is not JSON")
    if not isinstance(value, dict):
        return Bad(None, "failed", "malformed_line", "the line is not a JSON object")
    answered = _id(value.get("custom_id"), line)
    if answered is None:
        return Bad(None, "failed", "malformed_line", "the line has no custom_id")
    return _refused(answered, value) or _vector(answered, value["response"]["body"])


def _id(value: object, line: bytes) -> str | None:
    """The id that was answered. Of an integer from 2^64 orjson makes a float, so that it is read again."""
    if isinstance(value, float):
        try:
            value = json.loads(line).get("custom_id")
        except ValueError:
            return None
    return usable_id(value)


def _refused(answered: str, value: dict[str, Any]) -> Bad | None:
    response = value.get("response")
    response = response if isinstance(response, dict) else {}
    body = response.get("body")
    status = _status(response.get("status_code"))
    refusing = status is not None and not 200 <= status < 300
    for error in (body_error(body), value.get("error")):
        if error:
            details = error_details(error)
            code = details.code or (f"http_{status}" if error is body and refusing else "error")
            reason: Reason = "unfinished" if code.lower() in IN_FILES else "failed"
            reported = status if refusing or details.status is None else details.status
            return Bad(answered, reason, code, details.message, reported)
    if refusing:
        return Bad(answered, "failed", f"http_{status}", f"OpenAI answered {status}", status)
    if not isinstance(body, dict) or not body:
        return Bad(answered, "failed", "empty_answer", "the answer has no body", status)
    return None


def _status(value: object) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) == 3:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _vector(answered: str, body: dict[str, Any]) -> Good | Bad:
    """The one vector of an answer, whatever its `index`. Of several nobody can say which is the request's."""
    data = body.get("data")
    entries = data if isinstance(data, list) else []
    if len(entries) > 1:
        return Bad(answered, "failed", "several_vectors", f"the answer has {len(entries):,} vectors")
    delivered = entries[0].get("embedding") if entries and isinstance(entries[0], dict) else None
    try:
        vector = _decoded(delivered)
    except (ValueError, TypeError, OverflowError, binascii.Error):
        return Bad(answered, "failed", "malformed_vector", "the answer's vector cannot be read")
    if vector.ndim != 1 or not vector.size:
        return Bad(answered, "failed", "empty_vector", "the answer has no vector")
    if np.count_nonzero(np.isfinite(vector)) != vector.size:
        return Bad(answered, "failed", "not_finite", "the answer's vector has NaN or an infinity")
    if not vector[0] and not vector.any():
        return Bad(answered, "failed", "zero_vector", "the answer's vector is all zeros")
    model = body.get("model")
    return Good(answered, vector, bounded(model, NAME_CHARS) if isinstance(model, str) and model else None)


def _decoded(delivered: object) -> Vector:
    """A vector from a list of numbers or from base64 of little-endian float32."""
    if isinstance(delivered, str):
        return np.frombuffer(_bytes(delivered), dtype="<f4").astype(np.float32, copy=False)
    if delivered is None:
        return np.zeros(0, dtype=np.float32)
    if not isinstance(delivered, list):
        raise ValueError("neither base64 nor a list of numbers")
    with np.errstate(over="ignore"):
        return _doubles(delivered).astype(np.float32)


def _bytes(delivered: str) -> bytes:
    """What base64 stands for. The fast decoder gives the same as the standard library, but refuses more."""
    try:
        return pybase64.b64decode(delivered, validate=True)
    except (ValueError, binascii.Error):
        return base64.b64decode(delivered, validate=True)


def _doubles(delivered: list[Any]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """A list of numbers as float64. Raises ValueError if anything else is in it.

    `struct` packs numbers and refuses the rest, save true and false, which it takes for 1 and 0. Only if one
    of these may have come out are the types looked at: that takes longer than all the packing.
    """
    try:
        packed = np.frombuffer(struct.pack(f"{len(delivered)}d", *delivered), dtype=np.float64)
        if np.count_nonzero(packed) == packed.size and packed.max() < 1:
            return packed
    except (struct.error, OverflowError, ValueError):
        pass
    if not NUMBERS.issuperset(map(type, delivered)):
        raise ValueError("not a list of numbers")
    return np.array(delivered, dtype=np.float64)


def answer_line(answered: str, vector: Vector, model: str) -> bytes:
    """A line of an output file, as OpenAI would have written it for this vector, `(dim,) float32`."""
    embedding = base64.b64encode(np.ascontiguousarray(vector, dtype="<f4").tobytes()).decode()
    return delivered_line(answered, embedding, model)


def delivered_line(answered: str, embedding: object, model: str) -> bytes:
    """A line of an output file for an embedding as it was delivered: it is judged when the line is read."""
    body = {
        "object": "list",
        "model": model,
        "data": [{"object": "embedding", "index": 0, "embedding": embedding}],
    }
    answer = {"custom_id": answered, "response": {"status_code": 200, "body": body}, "error": None}
    return orjson.dumps(answer) + b"\n"


def usual_dimensions(answers: Iterable[Good | Bad]) -> tuple[int | None, Iterator[Good | Bad]]:
    """The length that most of the first good vectors have, None if there is none; and all answers, unchanged.

    The first ones are kept until they are taken, so that nothing is parsed twice.
    """
    coming = iter(answers)
    seen: list[Good | Bad] = []
    lengths: Counter[int] = Counter()
    for answer in coming:
        seen.append(answer)
        if isinstance(answer, Good):
            lengths[len(answer.vector)] += 1
            if lengths.total() == SAMPLE:
                break
    return (lengths.most_common(1)[0][0] if lengths else None), chain(seen, coming)


def _salvaged_id(line: bytes) -> str | None:
    """The id of a line that is no JSON, where it can still be read."""
    found = CUSTOM_ID.search(line)
    if found is None:
        return None
    try:
        return usable_id(json.loads(found.group(1)))
    except ValueError:
        return None
