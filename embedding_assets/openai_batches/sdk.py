"""OpenAI's SDK: its client, its errors translated here and nowhere else, and its answers as JSON objects."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai

from embedding_assets.calls.adaptive_limit import AdaptiveLimit
from embedding_assets.calls.credentials import check_credentials
from embedding_assets.calls.retry_after import retry_after_seconds
from embedding_assets.errors import (
    EmbeddingAssetsError,
    NotFoundError,
    ServiceError,
    SettingsError,
    TransientError,
    UnusableAnswerError,
)
from embedding_assets.openai_batches.limited_client import THROTTLED, LimitedClient
from embedding_assets.text.bounded_text import MESSAGE_CHARS, NAME_CHARS, bounded

SDK_RETRIES = 4
"""The SDK waits 0.5 s, doubled each time, with jitter, between tries."""
TIMEOUT = openai.Timeout(120.0, connect=10.0)


def _of_the_transport(name: str) -> tuple[type[Exception], ...]:
    """An error class of the SDK's transport, for what it raises past the SDK's own translation.

    The SDK speaks through `httpx` up to 2.x and through `httpx2` from 3.x on.
    """
    found = []
    for module in ("httpx", "httpx2"):
        try:
            found.append(getattr(importlib.import_module(module), name))
        except ImportError:
            continue
    return tuple(found)


UNUSABLE: tuple[type[Exception], ...] = (ValueError, *_of_the_transport("InvalidURL"))
"""What the SDK raises for an id that makes no address."""
UNUSABLE_SETTINGS: tuple[type[Exception], ...] = (ImportError, *UNUSABLE)
"""What the SDK raises for a base URL or a proxy that it cannot use."""
REFUSALS: tuple[type[Exception], ...] = (openai.OpenAIError, *UNUSABLE)

CONNECTION_ERRORS: tuple[type[Exception], ...] = (
    openai.APIConnectionError,
    *_of_the_transport("TransportError"),
    *_of_the_transport("DecodingError"),
)
"""What the SDK or its transport raises for a connection that broke. A compressed body that was cut is one."""


def connected(limit: AdaptiveLimit) -> openai.OpenAI:
    """The SDK's client. SettingsError names the variable that it cannot be made with, and quotes no value."""
    check_credentials()
    try:
        return openai.OpenAI(max_retries=SDK_RETRIES, timeout=TIMEOUT, http_client=LimitedClient(limit))
    except openai.OpenAIError:
        raise SettingsError("OPENAI_API_KEY is not set (the key of the account that runs the batches)") from None
    except UNUSABLE_SETTINGS as error:
        raise SettingsError(
            "OpenAI's SDK cannot use OPENAI_BASE_URL or a proxy variable "
            f"(HTTP_PROXY, HTTPS_PROXY, ALL_PROXY): {_plain(error)}"
        ) from None


@contextmanager
def translated(subject: str, refusal: type[EmbeddingAssetsError] = ServiceError) -> Iterator[None]:
    """Raise the SDK's errors as ours; `refusal` for answers that will not change.

    Without their causes: a gateway's answer may repeat the key, and the transport's complaint about a header or a
    proxy quotes it. Dagster stores causes.
    """
    try:
        yield
    except openai.NotFoundError:
        raise NotFoundError(f"{subject}: OpenAI does not know it") from None
    except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
        message = f"{subject}: OpenAI refused the key in OPENAI_API_KEY ({error.status_code})"
        raise ServiceError(message) from None
    except CONNECTION_ERRORS as error:
        kind = type(error.__cause__ or error).__name__
        message = f"{subject}: OpenAI cannot be reached ({kind})"
        raise TransientError(message, broke_off=not isinstance(error, openai.APIError)) from None
    except openai.APIStatusError as error:
        message = f"{subject}: OpenAI answered {error.status_code} {_code(error)}".rstrip()
        if error.status_code in (408, 409, 429) or error.status_code >= 500:
            raise TransientError(
                message,
                throttled=error.status_code in THROTTLED,
                retry_after=retry_after_seconds(error.response.headers),
            ) from None
        raise refusal(message) from None
    except REFUSALS as error:
        raise refusal(f"{subject}: {_plain(error)}") from None


def _plain(error: Exception) -> str:
    return bounded(" ".join(str(error).split()), MESSAGE_CHARS)


def _code(error: openai.APIStatusError) -> str:
    return bounded(" ".join(str(part) for part in (error.code, error.type) if part), NAME_CHARS)


def json_object(body: bytes, subject: str) -> dict[str, Any]:
    """The JSON object of an answer. UnusableAnswerError for anything else, a proxy's HTML page say."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnusableAnswerError(f"{subject}: the answer is not JSON") from error
    if not isinstance(value, dict):
        raise UnusableAnswerError(f"{subject}: the answer is not a JSON object")
    return value
