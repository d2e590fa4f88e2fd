"""The embeddings endpoint: vectors of many texts at once, at its full price."""

from __future__ import annotations

from collections.abc import Sequence

import openai as openai_sdk
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from embedding_assets.errors import TransientError, UnusableAnswerError
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.openai_batches.sdk import json_object, translated
from embedding_assets.progress import Progress

MAX_WAIT_SECONDS = 600.0
"""How long one call waits for a rate limit to let it through."""
_BACKOFF = wait_random_exponential(multiplier=1, max=60)


def embed_at_once(
    openai: OpenAIBatches, texts: Sequence[str], model: str, dimensions: int | None, progress: Progress
) -> list[object]:
    """The embedding of each text as it was delivered, base64 or numbers; None for a text without one.

    A rate limit (429, 503) is waited for, as long as the answer asks; `progress` says so. Raises TransientError
    after MAX_WAIT_SECONDS of that, UnusableAnswerError for an answer without data, ServiceError if the call is
    refused: then nothing is billed.
    """
    for attempt in Retrying(
        stop=stop_after_delay(MAX_WAIT_SECONDS),
        wait=_wait,
        retry=retry_if_exception(lambda error: isinstance(error, TransientError) and error.throttled),
        before_sleep=lambda state: progress(f"{_error(state)}; it is asked again in {_wait_of(state):.0f} s"),
        reraise=True,
    ):
        with attempt:
            return _delivered(openai, texts, model, dimensions)
    raise AssertionError("unreachable: the last try returns or raises")


def _delivered(openai: OpenAIBatches, texts: Sequence[str], model: str, dimensions: int | None) -> list[object]:
    asked = openai.dialect.dimensions(dimensions)
    subject = f"embedding {len(texts)} text{'' if len(texts) == 1 else 's'} with {model}"
    with translated(subject):
        answer = openai.sdk.embeddings.with_raw_response.create(
            model=model,
            input=list(texts),
            dimensions=openai_sdk.omit if asked is None else asked,
            encoding_format="base64",
        )
    data = json_object(answer.content, subject).get("data")
    if not isinstance(data, list):
        raise UnusableAnswerError(f"{subject}: the answer has no data")
    found: list[object] = [None] * len(texts)
    for place, entry in enumerate(data):
        index = entry.get("index", place) if isinstance(entry, dict) else None
        if isinstance(index, int) and 0 <= index < len(texts):
            found[index] = entry.get("embedding")
    return found


def _wait(state: RetryCallState) -> float:
    error = _error(state)
    asked = error.retry_after if isinstance(error, TransientError) else None
    return max(asked or 0.0, _BACKOFF(state))


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None


def _wait_of(state: RetryCallState) -> float:
    return state.next_action.sleep if state.next_action is not None else 0.0
