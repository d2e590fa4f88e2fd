"""Serve one ASGI app as a process of its own: free port, ready file, end with the parent.

Both servers of the embedded stack share this command line and these promises: the ready file holds the base
URL and appears, whole, only when connections are answered; SIGTERM and SIGINT end the process; with
`--parent-pid` it also ends within a second of its parent's death.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
from pathlib import Path
from types import FrameType
from typing import cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from embedding_assets.local.neighbours import ProgramsOnly

PARENT_POLL_SECONDS = 0.5
SHUTDOWN_GRACE_SECONDS = 2
KEEP_ALIVE_SECONDS = 75


def add_serving_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `serve` reads."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 picks a free one (default)")
    parser.add_argument("--ready-file", type=Path, help="file to write the base URL to, once serving")
    parser.add_argument("--parent-pid", type=int, help="end when this process is no longer our parent")


class _Server(uvicorn.Server):
    """A uvicorn server that announces itself and watches its parent."""

    def __init__(self, config: uvicorn.Config, url: str, options: argparse.Namespace) -> None:
        super().__init__(config)
        self._url = url
        self._ready_file: Path | None = options.ready_file
        self._parent_pid: int | None = options.parent_pid
        self._watch: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._ready_file is not None:
            write_whole(self._ready_file, self._url)
        if self._parent_pid is not None:
            self._watch = asyncio.create_task(self._end_with_parent(self._parent_pid))

    async def _end_with_parent(self, parent_pid: int) -> None:
        while os.getppid() == parent_pid:
            await asyncio.sleep(PARENT_POLL_SECONDS)
        self.should_exit = True


def write_whole(path: Path, text: str) -> None:
    """Write `text` to `path` so that a reader sees all of it or no file."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _end(signal_number: int, frame: FrameType | None) -> None:
    """Leave by SystemExit, so that what is open is closed; uvicorn raises its signals again at its end."""
    raise SystemExit(0)


def serve(app: ASGIApp, options: argparse.Namespace, protocol: type[asyncio.Protocol] = H11Protocol) -> None:
    """Serve the ASGI `app` to programs, not web pages, by `options` until a signal or the parent's end.

    Raises OSError if the address cannot be bound.
    """
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, _end)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((options.host, options.port))
    host, port = cast(tuple[str, int], listener.getsockname())
    config = uvicorn.Config(
        ProgramsOnly(app, options.host),
        http=protocol,
        log_level="warning",
        access_log=False,
        ws="none",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_GRACE_SECONDS,
    )
    _Server(config, f"http://{host}:{port}", options).run(sockets=[listener])
