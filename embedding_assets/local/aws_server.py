"""S3 and DynamoDB as a process of its own: moto, with every request behind one lock.

Plain moto answers requests in threads and checks conditions before it writes without holding anything, so
two conditional writes can both win. Here connections are concurrent and requests are not: each is read
whole, then answered by a single worker thread, then sent. Nothing is kept after the process ends, except in
the folder that `--keep` names.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from embedding_assets.errors import InputError
from embedding_assets.local.keeping import saved_regularly
from embedding_assets.local.serving import add_serving_options, serve
from embedding_assets.processes.quiet_environment import call_nobody

SEND_BYTES = 1 << 20

Environ = dict[str, Any]


class WsgiApp(Protocol):
    """A WSGI application, as in PEP 3333."""

    def __call__(self, environ: Environ, start_response: Callable[..., object], /) -> Iterable[bytes]: ...


@dataclass(slots=True)
class _Answer:
    """What the application said to one request."""

    status: int = 500
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""


class OneAtATime:
    """An ASGI app over a WSGI app that is never called, and never iterated, by two requests at once."""

    def __init__(self, app: WsgiApp, answered: Callable[[Environ], None] = lambda environ: None) -> None:
        """`answered` is called after each request, before the next one."""
        self._app = app
        self._answered = answered
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="moto")

    def between_requests(self, work: Callable[[], None]) -> None:
        """Do something while no request is answered."""
        self._worker.submit(work).result()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        environ = _environ(scope, bytes(body))
        answer = await asyncio.get_running_loop().run_in_executor(self._worker, self._call, environ)
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        for start in range(0, len(answer.body), SEND_BYTES):
            part = answer.body[start : start + SEND_BYTES]
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    def _call(self, environ: Environ) -> _Answer:
        answer = _Answer()

        def start_response(
            status: str, headers: list[tuple[str, str]], exc_info: object = None
        ) -> Callable[[bytes], object]:
            answer.status = int(status.split(" ", 1)[0])
            answer.headers = [(name.encode("latin1"), value.encode("latin1")) for name, value in headers]
            return io.BytesIO().write

        parts = self._app(environ, start_response)
        try:
            answer.body = b"".join(parts)
        finally:
            if hasattr(parts, "close"):
                parts.close()
            self._answered(environ)
        return answer


def _environ(scope: Scope, body: bytes) -> Environ:
    """The WSGI environment of an ASGI request; `RAW_URI` keeps the path as it arrived, for S3 keys."""
    query = scope["query_string"].decode("latin1")
    raw_path = scope["raw_path"].decode("latin1")
    environ: Environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode().decode("latin1"),
        "QUERY_STRING": query,
        "RAW_URI": f"{raw_path}?{query}" if query else raw_path,
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": scope["server"][0],
        "SERVER_PORT": str(scope["server"][1]),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for raw_name, raw_value in scope["headers"]:
        name = raw_name.decode("latin1").upper().replace("-", "_")
        key = name if name in {"CONTENT_LENGTH", "CONTENT_TYPE"} else f"HTTP_{name}"
        value = raw_value.decode("latin1")
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    if environ.pop("HTTP_TRANSFER_ENCODING", "").lower() == "chunked":
        environ["CONTENT_LENGTH"] = str(len(body))
    return environ


def main(arguments: list[str] | None = None) -> None:
    """Run the server from the command line."""
    from moto import backends
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    # moto lists its folders anew for every request: two fifths of the time of one.
    services = tuple(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: services
    parser = argparse.ArgumentParser(prog="embedding_assets.local.aws_server", description=__doc__)
    add_serving_options(parser)
    call_nobody()
    parser.add_argument("--keep", type=Path, help="folder that keeps buckets and tables for the next start")
    options = parser.parse_args(arguments)
    app: WsgiApp = DomainDispatcherApplication(create_backend_app)
    if options.keep is None:
        serve(OneAtATime(app), options, HttpToolsProtocol)
        return
    from embedding_assets.local.kept_aws import KeptAws

    kept = KeptAws(options.keep)
    try:
        kept.load()
    except InputError as error:
        sys.exit(f"aws_server: {error}")
    one_at_a_time = OneAtATime(app, kept.note)
    with saved_regularly(lambda: one_at_a_time.between_requests(kept.save)):
        serve(one_at_a_time, options, HttpToolsProtocol)


if __name__ == "__main__":
    main()
