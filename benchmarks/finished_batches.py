"""Finished batches for a measurement: OpenAI's output files, and what was submitted, the same at every call.

A line of floats is as OpenAI writes it, about 21 KB for 1536 numbers; the same vectors in base64 are 8.5 KB.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import orjson

Encoding = Literal["float", "base64"]
ENCODINGS: tuple[Encoding, ...] = get_args(Encoding)
MODEL = "text-embedding-3-small"
DRAWN = 512
"""Vectors drawn, in whose numbers the lines take turns: printing forty million numbers takes minutes."""


def batch_ids(encoding: Encoding, batches: int) -> list[str]:
    """The ids of all batches of one encoding."""
    return [f"{encoding}-{number:04}" for number in range(batches)]


def write_outputs(folder: Path, encoding: Encoding, batches: int, lines: int, dimensions: int) -> list[Path]:
    """Write the output file of each batch, named by its id; return them in order."""
    vectors = list(_vectors(dimensions))
    delivered = [_numbers(vector) if encoding == "float" else _base64(vector) for vector in vectors]
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, batch_id in enumerate(batch_ids(encoding, batches)):
        path = folder / f"{batch_id}.jsonl"
        with path.open("w") as sink:
            for number in range(lines):
                name = record_id(batch_id, number)
                sink.write(_line(name, delivered[(index * lines + number) % DRAWN]))
        paths.append(path)
    return paths


def records(batch_id: str, lines: int) -> bytes:
    """What `submit` keeps of the batch: `records/{batch_id}.jsonl`."""
    stored = (
        {
            "id": record_id(batch_id, number),
            "text": f"Espresso beans, dark roast, bag {number} of {lines}",
            "document": f"Espresso beans, dark roast, bag {number} of {lines}",
            "metadata": {"receipt": batch_id, "line": number, "merchant": "Corner Shop"},
            "input_sha256": f"{number:064x}",
        }
        for number in range(lines)
    )
    return b"".join(orjson.dumps(one) + b"\n" for one in stored)


def record_id(batch_id: str, number: int) -> str:
    """The id of one record."""
    return f"{batch_id}#RECEIPT#{number // 30:05}#LINE#{number:05}"


def _vectors(dimensions: int) -> Iterator[np.ndarray[tuple[int], np.dtype[np.float32]]]:
    dice = np.random.default_rng(1)
    for _ in range(DRAWN):
        drawn = dice.normal(size=dimensions)
        yield (drawn / np.linalg.norm(drawn)).astype(np.float32)


def _numbers(vector: np.ndarray[tuple[int], np.dtype[np.float32]]) -> str:
    return "[" + ", ".join(str(number) for number in vector) + "]"


def _base64(vector: np.ndarray[tuple[int], np.dtype[np.float32]]) -> str:
    return '"' + base64.b64encode(vector.astype("<f4").tobytes()).decode() + '"'


def _line(name: str, embedding: str) -> str:
    body = {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": "VECTOR"}],
        "model": MODEL,
        "usage": {"prompt_tokens": 12, "total_tokens": 12},
    }
    response = {"status_code": 200, "request_id": "0" * 32, "body": body}
    line = {"id": "batch_req_" + "0" * 32, "custom_id": name, "response": response, "error": None}
    return json.dumps(line).replace('"VECTOR"', embedding) + "\n"
