"""A proxy between the SDKs and the local servers, in which calls go wrong at the socket, by seed.

Each request is read whole, its fate is drawn, it is passed on unless it is refused, and the answer is sent as the
fate wants it: whole, late, cut, reset, or not at all. The SDKs know nothing of it: they are pointed here.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from embedding_assets_tests.rates.answers import Answer, refusal
from embedding_assets_tests.rates.faults import Dice, Fault, Service

SLOW_SECONDS = 0.1
OF_ONE_CONNECTION = frozenset({"connection", "content-length", "transfer-encoding", "keep-alive", "expect"})
"""Headers that are not passed on: they belong to one connection."""
RESET_AT_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER on, with no time: closing sends a reset."""

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Hangup(Exception):
    """The connection ends here."""


@dataclass(frozen=True)
class Request:
    """One request as it was read; header names in lower case."""

    service: Service
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def what(self) -> str:
        """What is asked for: the same text for the same call, whoever makes it and when."""
        if self.service != "dynamodb":
            return f"{self.method} {self.target}"
        asked = json.loads(self.body)
        key = asked.get("Key") or asked.get("Item") or asked.get("ExpressionAttributeValues") or {}
        return f"{self.headers['x-amz-target']} {key.get('PK') or key.get(':status') or ''}"


class Proxy:
    """Listens on two ports, for AWS and for OpenAI, while the `with` block lasts, in a thread of its own.

    `names` says what ids stand for that the local server draws: what is drawn must not decide.
    """

    def __init__(self, aws_url: str, openai_url: str) -> None:
        self._upstream = {"aws": urlsplit(aws_url), "openai": urlsplit(openai_url)}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._ports: dict[str, int] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self.names: Mapping[str, str] = {}
        self.dice = Dice(0, 0.0)

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def environment(self) -> dict[str, str]:
        """What points the SDKs here."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._ports['aws']}",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{self._ports['openai']}/v1",
        }

    def throw(self, seed: int, rate: float) -> Dice:
        """From now on `rate` of the calls go wrong, by `seed`; the dice count."""
        self.dice = Dice(seed, rate)
        return self.dice

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _open(self) -> None:
        for side in self._upstream:
            server = await asyncio.start_server(self._serving(side), "127.0.0.1", 0)
            self._ports[side] = server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _serving(self, side: str) -> Callable[..., Coroutine[Any, Any, None]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            """A connection: it has one of its own to the server, over which its requests are passed on."""
            task = asyncio.current_task()
            assert task is not None
            self._connections.add(task)
            server = await asyncio.open_connection(self._upstream[side].hostname, self._upstream[side].port)
            try:
                while True:
                    await self._one(await _read_request(side, reader, writer), writer, server)
            except (Hangup, ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                self._connections.discard(task)
                server[1].close()
                writer.close()

        return serve

    async def _one(self, request: Request, writer: asyncio.StreamWriter, server: Stream) -> None:
        """Answer one request as the dice want it. Raises Hangup where its connection ends with it."""
        what = request.what
        for drawn, name in self.names.items():
            what = what.replace(drawn, name)
        fault = self.dice.throw(request.service, what)
        if fault is Fault.RESET_BEFORE:
            _reset(writer)
        if fault is not None and fault.refuses:
            _send(writer, refusal(request.service, fault))
            return
        answer = await _pass_on(request, server)
        if fault is Fault.LOST:
            _reset(writer)
        if fault is Fault.SLOW:
            await asyncio.sleep(SLOW_SECONDS)
        if fault is not None and fault.halves:
            _send(writer, answer, half=True, with_length=fault is not Fault.CUT_WITHOUT_LENGTH)
            await writer.drain()
            if fault is Fault.RESET_IN_BODY:
                _reset(writer)
            raise Hangup
        _send(writer, answer)


async def _read_head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip("\r\n").split("\r\n")
    headers = (line.partition(":") for line in lines)
    return first, {name.strip().lower(): value.strip() for name, _, value in headers}


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readuntil(b"\r\n")
    return body


async def _read_request(side: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request:
    first, headers = await _read_head(reader)
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    method, target, _ = first.split(" ")
    service: Service = "openai"
    if side == "aws":
        service = "dynamodb" if headers.get("x-amz-target", "").startswith("DynamoDB") else "s3"
    return Request(service, method, target, headers, await _read_body(reader, headers))


async def _pass_on(request: Request, server: Stream) -> Answer:
    reader, writer = server
    _write(writer, f"{request.method} {request.target} HTTP/1.1", request.headers, request.body)
    first, headers = await _read_head(reader)
    assert request.method != "HEAD", "its answer has no body, whatever its headers say"
    return int(first.split(" ")[1]), headers, await _read_body(reader, headers)


def _send(writer: asyncio.StreamWriter, answer: Answer, *, half: bool = False, with_length: bool = True) -> None:
    """Send an answer, or the first half of its body; without a length the connection's end is the body's."""
    status, headers, body = answer
    _write(writer, f"HTTP/1.1 {status} Answer", headers, body, len(body) // 2 if half else None, with_length)


def _write(
    writer: asyncio.StreamWriter,
    first: str,
    headers: Mapping[str, str],
    body: bytes,
    cut: int | None = None,
    with_length: bool = True,
) -> None:
    lines = [first, *(f"{name}: {value}" for name, value in headers.items() if name not in OF_ONE_CONNECTION)]
    lines.append(f"Content-Length: {len(body)}" if with_length else "Connection: close")
    writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body[:cut])


def _reset(writer: asyncio.StreamWriter) -> None:
    """End the connection with a reset, after what was sent."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
    raise Hangup
