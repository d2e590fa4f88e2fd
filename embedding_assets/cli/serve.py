"""`serve`: read-only search of the published versions by HTTP."""

from __future__ import annotations

import socket
import threading
from typing import Annotated

import typer
import uvicorn

from embedding_assets.bucket.store import Store
from embedding_assets.cli.output import STDOUT, note
from embedding_assets.errors import SettingsError
from embedding_assets.openai_batches.client import OpenAIBatches
from embedding_assets.serving.http import http_app
from embedding_assets.serving.open_versions import OpenVersions
from embedding_assets.serving.search_service import SearchService
from embedding_assets.settings import ReaderSettings, load_settings
from embedding_assets.snapshot import Snapshot
from embedding_assets.versions.manifest import VersionManifest
from embedding_assets.versions.reader import find_version

GRACE_SECONDS = 5


def serve(
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="The port; 0 is a free one.")] = 8000,
    only: Annotated[
        list[str] | None, typer.Option("--database", "-d", help="Only this database; may be given again.")
    ] = None,
    refresh: Annotated[
        float, typer.Option("--refresh", min=0.1, help="Seconds between two looks for a new version.")
    ] = 5.0,
) -> None:
    """Search the published versions by HTTP and on a page, read-only; new versions are taken up at once."""
    settings = load_settings(ReaderSettings)
    store = Store(settings.bucket)
    chosen = [settings.database(name) for name in only] if only else list(settings.databases)
    by_name = {database.name: database for database in chosen}
    openai = OpenAIBatches()

    def published(name: str) -> VersionManifest:
        return find_version(store, by_name[name])

    def embed(text: str, model: str, dimensions: int | None) -> tuple[float, ...]:
        return tuple(openai.embed([text], model, dimensions)[0])

    def versions(name: str) -> OpenVersions:
        return OpenVersions(lambda version: Snapshot(store, by_name[name], settings.base_cache, version))

    service = SearchService({name: versions(name) for name in by_name}, published, embed, note)
    listener = _listener(host, port)
    threading.Thread(target=service.follow, args=(refresh,), name="take up versions", daemon=True).start()
    bound = listener.getsockname()
    STDOUT.print(f"search: http://{_named(host)}:{bound[1]}  (Ctrl-C ends it)")
    config = uvicorn.Config(
        http_app(service, host),
        log_level="warning",
        access_log=False,
        ws="none",
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        service.close()


def _listener(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        raise SettingsError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    return listener


def _named(host: str) -> str:
    return f"[{host}]" if ":" in host else host
