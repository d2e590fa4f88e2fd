"""The HTTP client of the OpenAI SDK, with a limit on the requests that run at once.

Each try of the SDK is one request here, so the limit sees every 429 and 503, also those that the SDK tries again.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import openai

from embedding_assets.calls.adaptive_limit import AdaptiveLimit
from embedding_assets.calls.retry_after import retry_after_seconds

THROTTLED = frozenset({429, 503})
"""Status codes by which a service asks for fewer requests."""

if TYPE_CHECKING:
    from httpx2 import Request, Response, SyncByteStream
else:
    # The SDK speaks through `httpx` up to 2.x and through `httpx2` from 3.x on.
    _transport = importlib.import_module(openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])
    Request, Response, SyncByteStream = _transport.Request, _transport.Response, _transport.SyncByteStream


class LimitedClient(openai.DefaultHttpxClient):
    """Sends as many requests at once as `limit` allows; a body that is streamed counts until it is closed."""

    def __init__(self, limit: AdaptiveLimit, **options: Any) -> None:
        super().__init__(**options)
        self._limit = limit

    def send(self, request: Request, **options: Any) -> Response:
        """As httpx's."""
        begun = self._limit.begin()
        kept = False
        try:
            response = super().send(request, **options)
            if response.status_code in THROTTLED:
                self._limit.throttled(begun, retry_after_seconds(response.headers))
            elif response.status_code < 500:
                self._limit.succeeded()
            if not response.is_closed and isinstance(response.stream, SyncByteStream):
                response.stream = _Counted(response.stream, self._limit.end)
                kept = True
            return response
        finally:
            if not kept:
                self._limit.end()


class _Counted(SyncByteStream):
    """A body that reports, once, when it is closed."""

    def __init__(self, body: SyncByteStream, on_close: Callable[[], None]) -> None:
        self._body = body
        self._on_close: Callable[[], None] | None = on_close

    def __iter__(self) -> Iterator[bytes]:
        yield from self._body

    def close(self) -> None:
        """Close it."""
        on_close, self._on_close = self._on_close, None
        try:
            self._body.close()
        finally:
            if on_close is not None:
                on_close()
