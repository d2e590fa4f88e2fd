"""An OpenAI-compatible server for embeddings and the Batch API, as a process of its own.

It answers what `embedding_assets` and the OpenAI SDK ask of the files, batches, embeddings and models
endpoints, in OpenAI's shapes, and does wrong what its control API (`/_control`) orders. Batches and files
live as long as the process, or with `--keep` in its folder.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from embedding_assets.errors import InputError
from embedding_assets.local.embedders import EMBEDDER_NAMES, Embedder, make_embedder
from embedding_assets.local.keeping import saved_regularly
from embedding_assets.local.kept_openai import KeptOpenAi
from embedding_assets.local.openai_batches import COMPLETION_WINDOW, BatchStore, Pace
from embedding_assets.local.openai_control import Control
from embedding_assets.local.openai_embeddings import MODEL_DIMENSIONS, embed, parse_request, to_json
from embedding_assets.local.openai_errors import ApiError
from embedding_assets.local.openai_files import FileStore, life_of
from embedding_assets.local.openai_traffic import CuttableProtocol, Traffic
from embedding_assets.local.serving import add_serving_options, serve
from embedding_assets.processes.quiet_environment import call_nobody

CONTENT_CHUNK_BYTES = 1 << 20
MODELS_CREATED_AT = 1_705_948_997
DEFAULT_PAGE = 20


class _FileContent(FileResponse):
    chunk_size = CONTENT_CHUNK_BYTES


class OpenAiApi:
    """The routes under `/v1`."""

    def __init__(self, files: FileStore, batches: BatchStore, embedder: Embedder) -> None:
        self._files = files
        self._batches = batches
        self._embedder = embedder

    def routes(self) -> list[Route]:
        """All API routes."""
        return [
            Route("/v1/files", self.create_file, methods=["POST"]),
            Route("/v1/files", self.list_files, methods=["GET"]),
            Route("/v1/files/{id}", self.get_file, methods=["GET"]),
            Route("/v1/files/{id}", self.delete_file, methods=["DELETE"]),
            Route("/v1/files/{id}/content", self.file_content, methods=["GET"]),
            Route("/v1/batches", self.create_batch, methods=["POST"]),
            Route("/v1/batches", self.list_batches, methods=["GET"]),
            Route("/v1/batches/{id}", self.get_batch, methods=["GET"]),
            Route("/v1/batches/{id}/cancel", self.cancel_batch, methods=["POST"]),
            Route("/v1/embeddings", self.create_embeddings, methods=["POST"]),
            Route("/v1/models", self.list_models, methods=["GET"]),
            Route("/v1/models/{id}", self.get_model, methods=["GET"]),
        ]

    async def create_file(self, request: Request) -> Response:
        """Store an upload."""
        async with request.form() as form:
            upload, purpose = form.get("file"), form.get("purpose")
            if not isinstance(upload, UploadFile):
                raise ApiError(400, "'file' is a required property", param="file")
            if not isinstance(purpose, str):
                raise ApiError(400, "'purpose' is a required property", param="purpose")
            filename = upload.filename or "upload"
            if purpose == "batch" and not filename.endswith(".jsonl"):
                raise ApiError(400, "Invalid file format for Batch API. Must be .jsonl")
            anchor, seconds = form.get("expires_after[anchor]"), form.get("expires_after[seconds]")
            asked = None if anchor is seconds is None else {"anchor": anchor, "seconds": seconds}
            life = life_of(asked)
            stored = await run_in_threadpool(self._files.save, upload.file, filename, purpose, life)
        return JSONResponse(stored.view)

    async def list_files(self, request: Request) -> Response:
        """All files, newest first, on one page."""
        return JSONResponse({"object": "list", "data": [stored.view for stored in self._files], "has_more": False})

    async def get_file(self, request: Request) -> Response:
        """One file object."""
        return JSONResponse(self._files.get(request.path_params["id"]).view)

    async def delete_file(self, request: Request) -> Response:
        """Delete a file."""
        file_id = request.path_params["id"]
        self._files.delete(file_id)
        return JSONResponse({"id": file_id, "object": "file", "deleted": True})

    async def file_content(self, request: Request) -> Response:
        """A file's bytes, streamed from disk."""
        stored = self._files.get(request.path_params["id"])
        if stored.id in self._batches.denied_files():
            raise ApiError(404, f"No such File object: {stored.id}", param="id")
        return _FileContent(stored.path, filename=stored.filename, media_type="application/octet-stream")

    async def create_batch(self, request: Request) -> Response:
        """Create a batch from an uploaded file."""
        body = await _json(request)
        for name in ("input_file_id", "endpoint", "completion_window"):
            if not isinstance(body.get(name), str):
                raise ApiError(400, f"Missing required parameter: '{name}'.", param=name)
        life = life_of(body.get("output_expires_after"), "output_expires_after")
        batch = self._batches.create(
            body["input_file_id"], body["endpoint"], body["completion_window"], body.get("metadata"), life
        )
        return JSONResponse(batch.view(batch.created_at))

    async def list_batches(self, request: Request) -> Response:
        """A page of batches, newest first."""
        limit = request.query_params.get("limit", str(DEFAULT_PAGE))
        if not limit.isdecimal():
            raise ApiError(400, f"Invalid type for 'limit': '{limit}'.", param="limit")
        return JSONResponse(self._batches.page(int(limit), request.query_params.get("after")))

    async def get_batch(self, request: Request) -> Response:
        """One batch object."""
        return JSONResponse(self._batches.get(request.path_params["id"]))

    async def cancel_batch(self, request: Request) -> Response:
        """Cancel a batch."""
        return JSONResponse(self._batches.cancel(request.path_params["id"]))

    async def create_embeddings(self, request: Request) -> Response:
        """Embed at once."""
        parsed = parse_request(await _json(request))
        body = await run_in_threadpool(embed, parsed, self._embedder)
        return Response(to_json(body), media_type="application/json")

    async def list_models(self, request: Request) -> Response:
        """The embedding models."""
        return JSONResponse({"object": "list", "data": [_model(name) for name in MODEL_DIMENSIONS]})

    async def get_model(self, request: Request) -> Response:
        """One model."""
        name = request.path_params["id"]
        if name not in MODEL_DIMENSIONS:
            raise ApiError(404, f"The model '{name}' does not exist", param="model", code="model_not_found")
        return JSONResponse(_model(name))


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": MODELS_CREATED_AT, "owned_by": "system"}


async def _json(request: Request) -> dict[str, Any]:
    try:
        body = orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        raise ApiError(400, "We could not parse the JSON body of your request.") from error
    if not isinstance(body, dict):
        raise ApiError(400, "We could not parse the JSON body of your request.")
    return body


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return JSONResponse(error.body, error.status_code)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    unknown = error.status_code in (404, 405)
    message = f"Invalid URL ({request.method} {request.url.path})" if unknown else error.detail
    return JSONResponse(ApiError(error.status_code, message).body, error.status_code)


def build_app(files: FileStore, batches: BatchStore, embedder: Embedder) -> Traffic:
    """The server as an ASGI app above these files and batches."""
    traffic = Traffic()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        batches.close()

    app = Starlette(
        routes=[*OpenAiApi(files, batches, embedder).routes(), *Control(files, batches, traffic).routes()],
        exception_handlers={ApiError: _api_error, HTTPException: _http_error},
        lifespan=lifespan,
    )
    return traffic.around(app)


def main(arguments: list[str] | None = None) -> None:
    """Run the server from the command line."""
    parser = argparse.ArgumentParser(prog="embedding_assets.local.openai_server", description=__doc__)
    add_serving_options(parser)
    call_nobody()
    parser.add_argument("--embedder", choices=EMBEDDER_NAMES, default="hash", help="(default: %(default)s)")
    parser.add_argument("--latency", type=float, default=0, help="seconds that a batch takes (default: 0)")
    parser.add_argument("--jitter", type=float, default=0, help="seconds more or less, by chance (default: 0)")
    parser.add_argument("--seed", type=int, default=0, help="of every draw (default: 0)")
    parser.add_argument(
        "--window",
        action="append",
        help="a completion window that is taken; may be repeated (default: 24h)",
    )
    parser.add_argument("--data-dir", type=Path, help="where files are kept (default: a temporary directory)")
    parser.add_argument("--keep", action="store_true", help="keep batches there too, for the next start")
    options = parser.parse_args(arguments)
    try:
        embedder = make_embedder(options.embedder)
    except InputError as error:
        sys.exit(f"openai_server: {error}")
    pace = Pace(options.latency, options.jitter, options.seed)
    with tempfile.TemporaryDirectory(prefix="openai-server-") as temporary:
        directory = options.data_dir or Path(temporary)
        windows = options.window or [COMPLETION_WINDOW]
        files = FileStore(directory)
        batches = BatchStore(files, embedder, pace, windows)
        app = build_app(files, batches, embedder)
        if not options.keep:
            serve(app, options, CuttableProtocol)
            return
        kept = KeptOpenAi(directory, files, batches)
        try:
            kept.load()
        except InputError as error:
            sys.exit(f"openai_server: {error}")
        with saved_regularly(kept.save):
            serve(app, options, CuttableProtocol)


if __name__ == "__main__":
    main()
