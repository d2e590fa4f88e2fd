"""The HTTP interface of `serve`: JSON below `/v1/`, `/healthz`, and one page. Read-only.

Errors are `{"error": LINE}`: 400 for a wrong request, 404 for an unknown database or version, 502 if OpenAI or the
bucket failed, 503 if something is not set up or not ready.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from embedding_assets.errors import (
    EmbeddingAssetsError,
    InputError,
    MissingExtraError,
    NotFoundError,
    ServiceError,
    SettingsError,
    TransientError,
)
from embedding_assets.serving.search_service import SearchService
from embedding_assets.text.redaction import without_secrets

DEFAULT_NEAREST = 5
MOST_NEAREST = 1000
LONGEST_QUERY = 10_000
"""Characters of a query: OpenAI takes 8,192 tokens."""

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

STATUS_CODES: tuple[tuple[type[EmbeddingAssetsError], int], ...] = (
    (InputError, 400),
    (NotFoundError, 404),
    (SettingsError, 503),
    (MissingExtraError, 503),
    (TransientError, 502),
    (ServiceError, 502),
)

CONTENT_SECURITY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"


def http_app(service: SearchService, host: str) -> Starlette:
    """The application. On a loopback `host` it answers requests to that machine's own names alone."""

    def search(request: Request) -> Response:
        given = request.query_params
        text = given.get("q", "")
        if not text.strip():
            raise InputError("q is missing: the text to look for")
        if len(text) > LONGEST_QUERY:
            raise InputError(f"q has {len(text)} characters, at most {LONGEST_QUERY} are allowed")
        found = service.search(
            request.path_params["database"],
            text,
            _nearest(given.get("k")),
            _filter(given.get("where")),
            given.get("version") or None,
        )
        return _json(found)

    def manifest(request: Request) -> Response:
        return _json(service.manifest(request.path_params["database"]).model_dump(mode="json"))

    def databases(request: Request) -> Response:
        return _json({"databases": service.databases})

    def health(request: Request) -> Response:
        waiting = service.not_ready
        return _json({"ready": not waiting, "waiting": waiting}, 503 if waiting else 200)

    def page(request: Request) -> Response:
        text = files("embedding_assets.serving").joinpath("page.html").read_text("utf-8")
        return HTMLResponse(text, headers={"Content-Security-Policy": CONTENT_SECURITY})

    hosts = [*LOOPBACK, host] if host in LOOPBACK else ["*"]
    return Starlette(
        routes=[
            Route("/", page),
            Route("/healthz", health),
            Route("/v1", databases),
            Route("/v1/{database}", manifest),
            Route("/v1/{database}/search", search),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts)],
        exception_handlers={EmbeddingAssetsError: _failed, Exception: _failed},
    )


def _failed(request: Request, error: Exception) -> Response:
    for kind, code in STATUS_CODES:
        if isinstance(error, kind):
            return _json({"error": without_secrets(str(error))}, code)
    if isinstance(error, EmbeddingAssetsError):
        return _json({"error": without_secrets(str(error))}, 500)
    return _json({"error": f"unexpected {type(error).__name__}"}, 500)


def _nearest(given: str | None) -> int:
    if given is None:
        return DEFAULT_NEAREST
    if not given.isascii() or not given.isdigit() or not 1 <= int(given[:10]) <= MOST_NEAREST:
        raise InputError(f"k must be a whole number from 1 to {MOST_NEAREST}")
    return int(given)


def _filter(given: str | None) -> dict[str, Any] | None:
    if not given:
        return None
    try:
        where = json.loads(given)
    except (ValueError, RecursionError):
        raise InputError("where is not JSON") from None
    if not isinstance(where, dict):
        raise InputError("where must be a JSON object, Chroma's filter of metadata")
    return where


def _json(value: Any, code: int = 200) -> Response:
    data = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(data, code, media_type="application/json")
