"""A Chroma server as a process of its own, which can be killed and started again on the same data."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import chromadb
import httpx
from chromadb.config import Settings

START_SECONDS = 30.0


@dataclass
class ChromaServer:
    """`chroma run` on a free port, with its data in `folder`."""

    folder: Path
    port: int = field(init=False)
    _process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def start(self) -> None:
        """Start it and wait until it answers."""
        program = Path(sys.executable).with_name("chroma")
        command = [
            str(program),
            "run",
            "--path",
            str(self.folder),
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{self.port}/api/v2/heartbeat").is_success:
                    return
            except httpx.TransportError:
                assert self._process.poll() is None, "the server ended"
                assert time.monotonic() < until, "the server does not answer"
                time.sleep(0.05)

    @property
    def pid(self) -> int:
        """Id of the process."""
        assert self._process is not None, "it was not started"
        return self._process.pid

    def kill(self) -> None:
        """End it at once, as a crash does."""
        assert self._process is not None, "it was not started"
        self._process.kill()
        self._process.wait()

    def new_database(self) -> str:
        """A database that nobody else uses."""
        name = f"db-{uuid.uuid4().hex[:12]}"
        settings = Settings(
            chroma_api_impl="chromadb.api.fastapi.FastAPI",
            chroma_server_host="127.0.0.1",
            chroma_server_http_port=self.port,
            anonymized_telemetry=False,
        )
        chromadb.AdminClient(settings).create_database(name)
        return name

    def url(self, database: str) -> str:
        """The address of a database, as the setting has it."""
        return f"chroma+http://127.0.0.1:{self.port}/default_tenant/{database}"
