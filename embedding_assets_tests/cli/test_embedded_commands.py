"""`demo` and `dev` as real processes: they call nobody, leave nothing, and their children end with them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

import embedding_assets

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

ROOT = str(Path(embedding_assets.__file__).parent.parent)
STRACE = shutil.which("strace")
CALLS = "trace=connect,sendto,sendmsg,sendmmsg"
ADDRESS = re.compile(r'sin_port=htons\((\d+)\), sin_addr=inet_addr\("([^"]+)"\)')
ADDRESS_6 = re.compile(r'sin6_port=htons\((\d+)\),.*?inet_pton\(AF_INET6, "([^"]+)"')
DNS = "53"
UI = re.compile(r"http://127\.0\.0\.1:\d+")
WAIT_SECONDS = 900
SOON_SECONDS = 60
RUNNING_SECONDS = 60
"""How long `dev` is watched once its UI answers: sensors tick, batches arrive."""


@dataclass(frozen=True)
class Place:
    """Where a command runs: a home, a working directory and a directory of temporary files of its own."""

    folder: Path

    @property
    def trace(self) -> Path:
        """What strace saw."""
        return self.folder / "trace"

    @property
    def output(self) -> Path:
        """What the command printed."""
        return self.folder / "output"

    def start(self, *arguments: str, traced: bool = False) -> subprocess.Popen[bytes]:
        """Run `embedding-assets ARGUMENTS…`; its own process id is in the file `pid`, also under strace."""
        for name in ("home", "work", "tmp"):
            (self.folder / name).mkdir(exist_ok=True)
        command = [sys.executable, "-c", "from embedding_assets.command import run; run()", *arguments]
        shell = ["sh", "-c", 'echo $$ > "$0"; exec "$@"', str(self.folder / "pid"), *command]
        strace = [STRACE or "strace", "-f", "--seccomp-bpf", "-qq", "-e", CALLS, "-o", str(self.trace)]
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
            "LANG": "C.UTF-8",
        }
        with self.output.open("wb") as sink:
            return subprocess.Popen(
                [*(strace if traced else []), *shell],
                cwd=self.folder / "work",
                env={**environment, "PYTHONPATH": ROOT},
                stdout=sink,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        """The command's process."""
        return int((self.folder / "pid").read_text())

    def wait_for_ui(self, process: subprocess.Popen[bytes]) -> None:
        """Until Dagster's UI answers."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            assert process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            found = UI.search(self.output.read_text())
            try:
                if found is not None and httpx.get(f"{found[0]}/server_info").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.5)

    def assert_it_called_nobody(self) -> None:
        """Only loopback addresses, and no name server."""
        text = self.trace.read_text()
        called = set(ADDRESS.findall(text)) | set(ADDRESS_6.findall(text))
        assert called, "strace saw nothing"
        foreign = {
            (port, address) for port, address in called if not address.startswith("127.") and address != "::1"
        }
        assert foreign == set()
        assert DNS not in {port for port, _ in called}

    def assert_nothing_is_left(self) -> None:
        """No file in the home directory, none in the working directory, no temporary one."""
        assert [str(path) for name in ("home", "work", "tmp") for path in (self.folder / name).rglob("*")] == []


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A place of this test's own."""
    return Place(tmp_path)


@pytest.fixture
def started(place: Place) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts commands, and kills what is left of them."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, traced: bool = False) -> subprocess.Popen[bytes]:
        processes.append(place.start(*arguments, traced=traced))
        return processes[-1]

    yield start
    for process in processes:
        for pid in (*descendants(process.pid), process.pid):
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def is_running(pid: int) -> bool:
    """Whether the process does anything any more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def descendants(pid: int) -> list[int]:
    """The process's children, their children, and so on."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [one for child in children for one in (child, *descendants(child))]


def wait_until_gone(pids: Sequence[int]) -> None:
    """All of them, soon."""
    deadline = time.monotonic() + SOON_SECONDS
    while running := [pid for pid in pids if is_running(pid)]:
        assert time.monotonic() < deadline, [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in running]
        time.sleep(0.1)


@pytest.mark.skipif(STRACE is None, reason="needs strace (apt-get install strace)")
def test_demo_calls_nobody(place: Place, started: Callable[..., subprocess.Popen[bytes]]) -> None:
    """Its servers, onnxruntime, Chroma and Dagster talk to this machine alone, and leave no file."""
    process = started("demo", traced=True)
    assert process.wait(WAIT_SECONDS) == 0, place.output.read_text()
    place.assert_it_called_nobody()
    place.assert_nothing_is_left()


@pytest.mark.skipif(STRACE is None, reason="needs strace (apt-get install strace)")
def test_dev_calls_nobody(place: Place, started: Callable[..., subprocess.Popen[bytes]]) -> None:
    """With UI, daemon, code server and runs; a SIGTERM ends all of them, with one line and its exit code."""
    process = started("dev", traced=True)
    place.wait_for_ui(process)
    time.sleep(RUNNING_SECONDS)
    children = descendants(place.pid)
    os.kill(place.pid, signal.SIGTERM)
    assert process.wait(WAIT_SECONDS) == 128 + signal.SIGTERM, place.output.read_text()
    wait_until_gone(children)
    assert place.output.read_text().splitlines()[-1] == "error: interrupted by SIGTERM"
    place.assert_it_called_nobody()
    place.assert_nothing_is_left()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGHUP, signal.SIGKILL], ids=lambda end: end.name)
def test_no_child_of_dev_outlives_it(
    place: Place, started: Callable[..., subprocess.Popen[bytes]], end: signal.Signals
) -> None:
    """Servers, keeper, UI, daemon, code server: at least six processes, and none is left."""
    process = started("dev")
    place.wait_for_ui(process)
    children = descendants(place.pid)
    assert len(children) >= 6
    os.kill(place.pid, end)
    assert process.wait(SOON_SECONDS) == (-end if end == signal.SIGKILL else 128 + end)
    wait_until_gone(children)
    if end != signal.SIGKILL:
        place.assert_nothing_is_left()


def test_dev_with_a_folder_goes_on(place: Place, started: Callable[..., subprocess.Popen[bytes]]) -> None:
    """A second `dev --dir` adds versions to those of the first; its folder alone is left."""
    kept = place.folder / "kept"
    numbers = []
    for _ in range(2):
        process = started("dev", "--dir", str(kept), "--trickle", "4")
        place.wait_for_ui(process)
        first = _published(kept)
        deadline = time.monotonic() + WAIT_SECONDS
        while (last := _published(kept)) <= first:
            assert time.monotonic() < deadline, place.output.read_text()
            time.sleep(1)
        numbers += [first, last]
        os.kill(place.pid, signal.SIGTERM)
        assert process.wait(SOON_SECONDS) == 128 + signal.SIGTERM
        place.assert_nothing_is_left()
    assert numbers == sorted(numbers)
    assert numbers[0] < numbers[2], numbers


def _published(kept: Path) -> int:
    """The number of the published version of lines, by the settings that `dev` keeps; 0 before the first."""
    script = f'. "{kept}/settings.sh"; exec "$0" -c "from embedding_assets.command import run; run()" "$@"'
    command = ["sh", "-c", script, sys.executable, "snapshots", "list", "lines", "--json"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": ROOT}
    listed = subprocess.run(command, env=environment, capture_output=True, check=False)
    versions = json.loads(listed.stdout) if listed.returncode == 0 else []
    return max((int(one["version"].partition("-")[0]) for one in versions), default=0)
