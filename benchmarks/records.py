"""Records to measure with: ids, texts and metadata like those of receipt lines, vectors like those of texts.

Embeddings of texts fill few of their dimensions: these lie near topics in a space of `LATENT` dimensions that
is turned into the wanted number of dimensions, with a little noise in all of them. The same seed gives the same
bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

LATENT = 48
PER_TOPIC = 60
SPREAD = 0.6
NOISE = 0.02

WORDS = ("TOTAL", "ROUNDING", "CASH", "CHANGE", "MILK 1L", "BREAD", "TAX 6%", "VISA", "THANK YOU", "QTY", "EGGS")

Vectors = np.ndarray[tuple[int, int], np.dtype[np.float32]]


@dataclass(frozen=True)
class Records:
    """Records in columns; `vectors` is `(n, dim) float32` of length 1."""

    ids: list[str]
    documents: list[str]
    metadata: list[dict[str, Any]]
    vectors: Vectors

    def split(self, parts: int) -> Iterator[Records]:
        """The records in `parts` runs of about equal length."""
        bounds = np.linspace(0, len(self.ids), parts + 1).astype(int)
        for start, end in pairwise(bounds.tolist()):
            part = slice(start, end)
            yield Records(self.ids[part], self.documents[part], self.metadata[part], self.vectors[part])


def make_records(count: int, dimensions: int, seed: int = 0, first: int = 0) -> Records:
    """`count` records; `first` is the number of the first, so that two calls can give different ids."""
    numbers = range(first, first + count)
    return Records(
        ids=[f"IMAGE#{number // 25:08d}#RECEIPT#00001#LINE#{number % 25:05d}" for number in numbers],
        documents=[f"{WORDS[number % len(WORDS)]} {number % 997 / 100:.2f}" for number in numbers],
        metadata=[
            {
                "image_id": f"{number // 25:08d}",
                "line_id": number % 25,
                "confidence": number % 89 / 89,
                "merchant": f"SHOP {number // 25 % 40}",
            }
            for number in numbers
        ],
        vectors=_vectors(count, dimensions, seed, first),
    )


def _vectors(count: int, dimensions: int, seed: int, first: int) -> Vectors:
    shape = np.random.default_rng(seed)
    topics = shape.standard_normal((600, LATENT), dtype=np.float32)
    turn = shape.standard_normal((LATENT, dimensions), dtype=np.float32) / np.sqrt(np.float32(dimensions))
    drawn = np.random.default_rng((seed, first, 1))
    points = topics[drawn.integers(0, len(topics), count)]
    points += SPREAD * drawn.standard_normal((count, LATENT), dtype=np.float32)
    vectors: Vectors = points @ turn
    vectors += NOISE * drawn.standard_normal((count, dimensions), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors
