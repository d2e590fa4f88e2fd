"""Records to measure with: ids, texts and metadata like those of receipt lines, vectors like those of their texts.

Few texts come often and many once: of 8,728 real receipt lines 3,428 are distinct, and the most frequent comes
231 times. Here the text of rank i is drawn with a probability of 1 / (i + SHIFT), which gives about the same.
Embeddings of texts fill few of their dimensions: each text has a point near one of TOPICS in LATENT dimensions,
turned into the wanted number; two answers to one text differ in the last bits, as OpenAI's do. The same seed
gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

TEXTS = 20_000
SHIFT = 4
TOPICS = 600
LATENT = 48
SPREAD = 0.6
NOISE = 0.02
"""Of a text's vector, in each dimension."""
REPEATED = 1e-4
"""Of each answer, in each dimension, beside vectors of length 1."""

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
    drawn = np.random.default_rng((seed, first, 1))
    weights = 1 / (np.arange(TEXTS) + SHIFT)
    texts = drawn.choice(TEXTS, count, p=weights / weights.sum())
    vectors = _text_vectors(np.unique(texts), dimensions, seed)[np.searchsorted(np.unique(texts), texts)]
    vectors += REPEATED / np.sqrt(np.float32(dimensions)) * drawn.standard_normal(vectors.shape, dtype=np.float32)
    return Records(
        ids=[f"IMAGE#{number // 25:08d}#RECEIPT#00001#LINE#{number % 25:05d}" for number in numbers],
        documents=[f"{WORDS[text % len(WORDS)]} {text / 100:.2f}" for text in texts.tolist()],
        metadata=[
            {
                "image_id": f"{number // 25:08d}",
                "line_id": number % 25,
                "confidence": number % 89 / 89,
                "merchant": f"SHOP {number // 25 % 40}",
            }
            for number in numbers
        ],
        vectors=vectors,
    )


def _text_vectors(texts: np.ndarray[tuple[int], np.dtype[np.int64]], dimensions: int, seed: int) -> Vectors:
    """The vectors of some texts, of length 1; a text has the same one at every call."""
    shape = np.random.default_rng(seed)
    topics = shape.standard_normal((TOPICS, LATENT), dtype=np.float32)
    turn = shape.standard_normal((LATENT, dimensions), dtype=np.float32) / np.sqrt(np.float32(dimensions))
    vectors = np.empty((len(texts), dimensions), dtype=np.float32)
    for place, text in enumerate(texts.tolist()):
        own = np.random.default_rng((seed, text, 2))
        point = topics[text % TOPICS] + SPREAD * own.standard_normal(LATENT, dtype=np.float32)
        vectors[place] = point @ turn + NOISE * own.standard_normal(dimensions, dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors
