"""What `/v1/embeddings` answers to one request body, alone or inside a batch.

Limits and messages follow OpenAI's API reference for embeddings: an input is a string, an array of strings,
an array of token numbers or an array of those; none may be empty or longer than 8,192 tokens; one request
holds at most 2,048 inputs.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import bpe_openai
import orjson

from embedding_assets.local.embedders import Embedder, Vectors
from embedding_assets.local.openai_errors import ApiError

MODEL_DIMENSIONS: Mapping[str, int] = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
}
FIXED_DIMENSIONS_MODELS = frozenset({"text-embedding-ada-002"})
MAX_INPUT_TOKENS = 8192
MAX_INPUTS = 2048
ENCODING = "cl100k_base"


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """One valid request body."""

    model: str
    texts: tuple[str, ...]
    dimensions: int
    base64: bool
    tokens: int


@cache
def _encoding() -> bpe_openai.Encoding:
    return bpe_openai.get_encoding(ENCODING)


def count_tokens(text: str) -> int:
    """Number of cl100k_base tokens of `text`, as the embedding models count them."""
    return len(_encoding().encode_ordinary(text))


def parse_request(body: object) -> EmbeddingRequest:
    """The request in a decoded JSON body. Raises ApiError with the status that OpenAI gives."""
    if not isinstance(body, dict):
        raise ApiError(400, "We could not parse the JSON body of your request.")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise ApiError(400, "you must provide a model parameter")
    if model not in MODEL_DIMENSIONS:
        message = f"The model `{model}` does not exist or you do not have access to it."
        raise ApiError(404, message, code="model_not_found")
    encoding_format = body.get("encoding_format", "float")
    if encoding_format not in ("float", "base64"):
        raise ApiError(400, f"'{encoding_format}' is not one of ['float', 'base64'] - 'encoding_format'")
    inputs = _inputs(body.get("input"))
    counts = [count_tokens(item) if isinstance(item, str) else len(item) for item in inputs]
    longest = max(counts)
    if longest > MAX_INPUT_TOKENS:
        raise ApiError(
            400,
            f"This model's maximum context length is {MAX_INPUT_TOKENS} tokens, however you requested "
            f"{longest} tokens ({longest} in your prompt; 0 for the completion). Please reduce your prompt; "
            "or completion length.",
        )
    return EmbeddingRequest(
        model=model,
        texts=tuple(item if isinstance(item, str) else " ".join(map(str, item)) for item in inputs),
        dimensions=_dimensions(model, body.get("dimensions")),
        base64=encoding_format == "base64",
        tokens=sum(counts),
    )


def _inputs(value: object) -> list[str] | list[list[int]]:
    invalid = ApiError(
        400,
        "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference.",
    )
    if isinstance(value, str) and value:
        return [value]
    if not isinstance(value, list) or not value or len(value) > MAX_INPUTS:
        raise invalid
    if all(isinstance(item, str) and item for item in value):
        return value
    if _is_tokens(value):
        return [value]
    if all(_is_tokens(item) for item in value):
        return value
    raise invalid


def _is_tokens(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(type(item) is int for item in value)


def _dimensions(model: str, asked: object) -> int:
    whole = MODEL_DIMENSIONS[model]
    if asked is None:
        return whole
    if model in FIXED_DIMENSIONS_MODELS:
        raise ApiError(400, "This model does not support specifying dimensions.")
    if type(asked) is not int or asked < 1:
        raise ApiError(400, f"Invalid value for 'dimensions': {asked!r}.", param="dimensions")
    if asked > whole:
        message = f"Invalid value for 'dimensions' = {asked}. Must be less than or equal to {whole}."
        raise ApiError(400, message, param="dimensions")
    return asked


def answer(request: EmbeddingRequest, vectors: Vectors) -> dict[str, Any]:
    """OpenAI's body for `vectors`, `(n, dimensions) float32`; orjson writes it with OPT_SERIALIZE_NUMPY."""
    return {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": base64.b64encode(row.astype("<f4").tobytes()).decode() if request.base64 else row,
            }
            for index, row in enumerate(vectors)
        ],
        "model": request.model,
        "usage": {"prompt_tokens": request.tokens, "total_tokens": request.tokens},
    }


def embed(request: EmbeddingRequest, embedder: Embedder) -> dict[str, Any]:
    """OpenAI's body for `request`."""
    return answer(request, embedder.embed(request.model, request.texts, request.dimensions))


def to_json(value: object) -> bytes:
    """JSON bytes; float32 rows are written with as many digits as tell them apart."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
