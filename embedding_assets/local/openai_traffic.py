"""Counts of the requests that the local OpenAI server gets, and faults of HTTP itself."""

from __future__ import annotations

import asyncio
import gzip
import re
import socket
import struct
import threading
from dataclasses import asdict, dataclass
from typing import ClassVar

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from embedding_assets.local.openai_errors import ApiError
from embedding_assets.local.openai_plans import HttpFault

CONTROL_PREFIX = "/_control"
_ID = re.compile(r"^/v1/(files|batches|models)/[^/]+")
_ACCOUNT = re.compile(r"^/v1/(files|batches)(/|$)")
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class RouteCount:
    """Requests of one route: how many ever, right now, and at most at once."""

    requests: int = 0
    in_flight: int = 0
    max_in_flight: int = 0


class CuttableProtocol(HttpToolsProtocol):
    """HTTP/1.1 whose connections can be cut by their client's address."""

    transports: ClassVar[dict[tuple[str, int], asyncio.Transport]] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self.transports[transport.get_extra_info("peername")] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.transports.pop(self.transport.get_extra_info("peername"), None)
        super().connection_lost(exc)


async def cut_connection(scope: Scope, reset: bool) -> None:
    """Close the client's connection; with `reset` it gets a TCP reset, else an early end."""
    transport = CuttableProtocol.transports.get(tuple(scope["client"]))
    if transport is None:
        return
    if reset:
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
    else:
        transport.close()
    await asyncio.sleep(0.01)


def route_of(method: str, path: str) -> str:
    """The counted name of a request, such as `GET /v1/files/{id}/content`."""
    return f"{method} {_ID.sub(lambda match: f'/v1/{match[1]}/{{id}}', path)}"


class Traffic:
    """ASGI middleware that counts, delays, refuses and cuts. The control API itself is left alone."""

    def __init__(self) -> None:
        self._app: ASGIApp | None = None
        self._counts: dict[str, RouteCount] = {}
        self._faults: list[tuple[int | None, HttpFault]] = []
        self._other_keys: set[bytes] = set()
        self._lock = threading.Lock()

    def around(self, app: ASGIApp) -> Traffic:
        """Stand in front of `app`."""
        self._app = app
        return self

    def counters(self) -> dict[str, dict[str, int]]:
        """`{route: {"requests", "in_flight", "max_in_flight"}}`."""
        with self._lock:
            return {route: asdict(count) for route, count in sorted(self._counts.items())}

    def reset_counters(self) -> None:
        """Begin counting again; requests under way stay counted as in flight."""
        with self._lock:
            for route, count in list(self._counts.items()):
                if count.in_flight:
                    count.requests, count.max_in_flight = count.in_flight, count.in_flight
                else:
                    del self._counts[route]

    def add_fault(self, fault: HttpFault) -> None:
        """Order a fault; earlier ones go first."""
        with self._lock:
            self._faults.append((fault.times, fault))

    def add_other_project(self, key: str) -> None:
        """From now on requests with this key see an empty account."""
        with self._lock:
            self._other_keys.add(f"Bearer {key}".encode())

    def forget_other_projects(self) -> None:
        """Every key sees everything again."""
        with self._lock:
            self._other_keys.clear()

    def clear_faults(self) -> None:
        """Forget all ordered faults."""
        with self._lock:
            self._faults.clear()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._app is not None, "Traffic.around was not called"
        if scope["type"] != "http" or scope["path"].startswith(CONTROL_PREFIX):
            await self._app(scope, receive, send)
            return
        route = route_of(scope["method"], scope["path"])
        with self._lock:
            count = self._counts.setdefault(route, RouteCount())
            count.requests += 1
            count.in_flight += 1
            count.max_in_flight = max(count.max_in_flight, count.in_flight)
            fault = self._take_fault(route, scope["path"])
        open_ = True

        def close() -> None:
            nonlocal open_
            with self._lock:
                count.in_flight -= open_
                open_ = False

        async def sending(message: Message) -> None:
            """A request ends with the last bytes of its answer: whoever has them may ask again at once."""
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                close()
            await send(message)

        try:
            await self._answer(fault, scope, receive, sending)
        finally:
            close()

    def _take_fault(self, route: str, path: str) -> HttpFault | None:
        for index, (left, fault) in enumerate(self._faults):
            if fault.route in ("*", route) and fault.contains in path:
                if left is not None:
                    self._faults[index : index + 1] = [(left - 1, fault)] if left > 1 else []
                return fault
        return None

    async def _answer(self, fault: HttpFault | None, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._app is not None
        if fault is None:
            app = (
                _empty_account(scope) if dict(scope["headers"]).get(b"authorization") in self._other_keys else None
            )
            await (app or self._app)(scope, receive, send)
            return
        await asyncio.sleep(fault.delay_seconds)
        if fault.reset:
            await cut_connection(scope, reset=True)
        elif fault.status is not None:
            headers = {} if fault.retry_after is None else {"retry-after": str(fault.retry_after)}
            repeated = _headers(scope) if fault.repeat_headers else ""
            body = ApiError(fault.status, fault.message + repeated, code=repeated or fault.code).body
            await JSONResponse(body, fault.status, headers)(scope, receive, send)
        elif fault.text is not None:
            await Response(fault.text, media_type=fault.content_type)(scope, receive, send)
        elif fault.unnoticed is not None:
            await self._app(scope, receive, _CutUnnoticed(scope, send, fault))
        elif fault.truncate_after is not None:
            await self._app(scope, receive, _Truncating(scope, send, fault.truncate_after))
        else:
            await self._app(scope, receive, send)


def _empty_account(scope: Scope) -> ASGIApp | None:
    """What answers a key of another project; None if the path is not about batches or files."""
    if not _ACCOUNT.match(scope["path"]):
        return None
    if scope["method"] == "GET" and not _ID.match(scope["path"]):
        return JSONResponse({"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False})
    return JSONResponse(ApiError(404, f"No object found at {scope['path']}", param="id").body, 404)


class _CutUnnoticed:
    """A `send` whose body ends early in a way that HTTP does not notice."""

    def __init__(self, scope: Scope, send: Send, fault: HttpFault) -> None:
        self._scope = scope
        self._send = send
        self._fault = fault
        self._head: Message = {}
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._head = message
            return
        self._body += message.get("body", b"")
        if message.get("more_body"):
            return
        kept = [(name, value) for name, value in self._head["headers"] if name.lower() != b"content-length"]
        if self._fault.unnoticed == "gzip":
            body = gzip.compress(self._body)[: self._fault.truncate_after]
            headers = [*kept, (b"content-encoding", b"gzip"), (b"content-length", str(len(body)).encode())]
            await self._send({**self._head, "headers": headers})
            await self._send({"type": "http.response.body", "body": body})
            return
        await self._close_after(kept, self._body[: self._fault.truncate_after])

    async def _close_after(self, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Past uvicorn, which would send the body in chunks: the end of the connection is the end of the body."""
        transport = CuttableProtocol.transports.get(tuple(self._scope["client"]))
        if transport is None:
            return
        lines = [f"HTTP/1.1 {self._head['status']} OK".encode(), b"connection: close"]
        lines += [name + b": " + value for name, value in headers]
        transport.write(b"\r\n".join([*lines, b"", b""]) + body)
        transport.close()
        await asyncio.sleep(0.01)


def _headers(scope: Scope) -> str:
    """As careless gateways put them into their error messages."""
    return "".join(f" {name.decode('latin-1')}: {value.decode('latin-1')}" for name, value in scope["headers"])


class _Truncating:
    """A `send` that cuts the connection after so many bytes of the body."""

    def __init__(self, scope: Scope, send: Send, left: int) -> None:
        self._scope = scope
        self._send = send
        self._left = left

    async def __call__(self, message: Message) -> None:
        if message["type"] != "http.response.body" or self._left < 0:
            await self._send(message)
            return
        body = message.get("body", b"")
        if len(body) < self._left:
            self._left -= len(body)
            await self._send(message)
            return
        await self._send({"type": "http.response.body", "body": body[: self._left], "more_body": True})
        self._left = -1
        await cut_connection(self._scope, reset=False)
