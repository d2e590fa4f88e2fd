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

from embedding_assets.redaction import redacted
from embedding_assets.snapshots.records import is_unicode

EXPIRED_CODE = "batch_expired"
UNFINISHED_CODES = frozenset({EXPIRED_CODE, "batch_cancelled", "batch_canceled"})
SAMPLE = 101
"""Lines looked at to learn the length of a batch's vectors where nothing tells it."""

CUSTOM_ID = re.compile(rb'"custom_id"\s*:\s*("(?:[^"\\]|\\.)*")')

READ_AT_ONCE = 2**20
"""Each read lets another thread have its turn, so lines of 21 KB want fewer of them."""

NUMBERS = frozenset({int, float, type(None)})
"""What JSON numbers become; a null becomes NaN, which is told as such."""

Vector = np.ndarray[tuple[int], np.dtype[np.float32]]
Reason = Literal["failed", "unfinished"]


@dataclass(frozen=True)
class Good:
    """An answer with a vector, `(dim,) float32` as delivered; `model` as OpenAI told it."""

    id: str
    vector: Vector
    model: str | None


@dataclass(frozen=True)
class Bad:
    """An answer without a usable vector, and why. `id` is None where the line does not even tell that."""

    id: str | None
    reason: Reason
    code: str
    message: str
    status_code: int | None = None


def read_answers(path: Path) -> Iterator[Good | Bad]:
    """Every line of an output or error file, one at a time; no line is skipped, no line raises."""
    with path.open("rb", buffering=READ_AT_ONCE) as stream:
        for line in stream:
            if not line.isspace():
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
    record_id = value.get("custom_id")
    if not isinstance(record_id, str) or not record_id or not is_unicode(record_id):
        return Bad(None, "failed", "malformed_line", "the line has no custom_id")
    refused = _refused(record_id, value)
    return refused or _vector(record_id, value["response"]["body"])


def _refused(record_id: str, value: dict[str, Any]) -> Bad | None:
    response = value.get("response")
    response = response if isinstance(response, dict) else {}
    body = response.get("body")
    body = body if isinstance(body, dict) else {}
    status = response.get("status_code")
    status = status if isinstance(status, int) else None
    for error in (body.get("error"), value.get("error")):
        if error:
            details = error if isinstance(error, dict) else {"message": str(error)}
            code = str(details.get("code") or details.get("type") or "error")
            reason: Reason = "unfinished" if code in UNFINISHED_CODES else "failed"
            return Bad(record_id, reason, writable(code), writable(str(details.get("message") or "")), status)
    if status is not None and not 200 <= status < 300:
        return Bad(record_id, "failed", f"http_{status}", f"OpenAI answered {status}", status)
    if not body:
        return Bad(record_id, "failed", "empty_answer", "the answer has no body", status)
    return None


def _vector(record_id: str, body: dict[str, Any]) -> Good | Bad:
    data = body.get("data")
    entry = data[0] if isinstance(data, list) and data else None
    delivered = entry.get("embedding") if isinstance(entry, dict) else None
    try:
        vector = _decoded(delivered)
    except (ValueError, TypeError, OverflowError, binascii.Error):
        return Bad(record_id, "failed", "malformed_vector", "the answer's vector cannot be read")
    if vector.ndim != 1 or not vector.size:
        return Bad(record_id, "failed", "empty_vector", "the answer has no vector")
    if np.count_nonzero(np.isfinite(vector)) != vector.size:
        return Bad(record_id, "failed", "not_finite", "the answer's vector has NaN or an infinity")
    model = body.get("model")
    return Good(record_id, vector, model if isinstance(model, str) and model else None)


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
    """A list of numbers as float64. Raises ValueError where anything else is in it.

    `struct` packs numbers and refuses the rest, save true and false, which it takes for 1 and 0. Only where one
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


def usual_dimensions(answers: Iterable[Good | Bad]) -> tuple[int | None, Iterator[Good | Bad]]:
    """The length that most of the first good vectors have, None where there is none; and all answers, unchanged.

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
        value = json.loads(found.group(1))
    except ValueError:
        return None
    return value if isinstance(value, str) and value and is_unicode(value) else None


def writable(text: str) -> str:
    """`text` as it may be stored: UTF-8, and without secrets, for a gateway may repeat them."""
    return redacted(text.encode(errors="replace").decode())
