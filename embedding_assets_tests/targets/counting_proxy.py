"""A proxy before a Chroma server that counts the records which the server was given and took."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

SECONDS = 120.0


@dataclass
class Proxy:
    """Where it listens, and how many records were added through it."""

    port: int
    added: int = 0


@contextmanager
def counting_proxy(server_port: int) -> Iterator[Proxy]:
    """Pass everything on to the server on this port; a server that is away ends the connection."""

    class Handler(BaseHTTPRequestHandler):
        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {"Content-Type": self.headers.get("Content-Type", "application/json")}
            url = f"http://127.0.0.1:{server_port}{self.path}"
            try:
                answer = httpx.request(self.command, url, content=body, headers=headers, timeout=SECONDS)
            except httpx.TransportError:
                return
            if answer.is_success and self.path.endswith("/add"):
                with counted:
                    proxy.added += len(json.loads(body)["ids"])
            try:
                self.send_response(answer.status_code)
                self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)
            except ConnectionError:
                """Whoever asked was killed."""

        do_GET = do_POST = do_PUT = do_DELETE = forward

        def log_message(self, *given: object) -> None:
            """Nothing is logged."""

    counted = threading.Lock()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        proxy = Proxy(server.server_port)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()
