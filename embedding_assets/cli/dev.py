"""`dev`: the web UI with everything running on this machine, and new demo batches trickling in."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated
from urllib.request import Request, urlopen

import typer
from dagster import DagsterRunStatus, RunsFilter

from embedding_assets.cli.demo import SETTINGS, demo_files, embedded
from embedding_assets.cli.home import dagster_instance, project_file
from embedding_assets.cli.kept_stack import write_settings
from embedding_assets.cli.output import STDOUT, print_error
from embedding_assets.local.openai_plans import BatchPlan, PlanOrder, RequestFault
from embedding_assets.local.openai_traffic import CONTROL_PREFIX
from embedding_assets.processes import keeper as keeper_module
from embedding_assets.processes.interruption import uninterrupted
from embedding_assets.processes.quiet_environment import with_this_package
from embedding_assets.services import Services

RECORDS_A_BATCH = 20
TRICKLE_SECONDS = 12.0
BATCH_SECONDS = 10.0
SENSOR_SECONDS = "5"
PLANTED: dict[tuple[str, int], BatchPlan] = {
    ("lines", 2): BatchPlan(status="failed"),
    ("words", 2): BatchPlan(
        requests=(
            RequestFault(kind="error", count=3),
            RequestFault(
                kind="error",
                count=2,
                status_code=400,
                code="invalid_request",
                message="This model's maximum context length is 8192 tokens.",
            ),
        )
    ),
}
"""What goes wrong, by database and number of its batch: a visitor meets a failed batch and failed requests."""
TRICKLED_FILE = "submitted.json"
INTERRUPTED = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
ANSWER_SECONDS = 1.0
"""Between two looks whether the UI answers, and how long one may take."""


def dev(
    port: Annotated[int | None, typer.Option("--port", "-p", help="The UI's port; by default a free one.")] = None,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Where the servers and Dagster's home are kept.")
    ] = None,
    trickle: Annotated[float, typer.Option("--trickle", help="Seconds between new batches.")] = TRICKLE_SECONDS,
    failures: Annotated[
        bool,
        typer.Option(help="Let one batch of lines fail, and five requests of one batch of words."),
    ] = True,
) -> None:
    """Open the Dagster UI on the embedded servers, with demo batches arriving.

    With --dir another `dev` or `local` with this folder goes on from what is there; without it that is lost.
    """
    with ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="embedding-assets-dev-")))
        folder = directory or temporary
        os.environ.setdefault("EMBEDDING_ASSETS_SENSOR_SECONDS", SENSOR_SECONDS)
        os.environ.setdefault("EMBEDDING_ASSETS_MIN_READY", "1")
        services = embedded(stack, folder, latency=BATCH_SECONDS, jitter=BATCH_SECONDS / 2, kept=directory)
        chosen = port or _free_port()
        ended = threading.Event()
        threading.Thread(
            target=_trickle,
            args=(services, Records(demo_files(temporary), folder), trickle, ended, PLANTED if failures else {}),
            name="trickle",
            daemon=True,
        ).start()
        if directory is not None:
            _report_interrupted_runs()
            reading = write_settings(directory, {name: os.environ[name] for name in SETTINGS})
            STDOUT.print(f"for commands in another shell: {reading}", soft_wrap=True)
        address = f"http://127.0.0.1:{chosen}"
        STDOUT.print(f"Dagster's UI: {address}  (starting; Ctrl-C ends everything)")
        threading.Thread(target=_say_when_it_answers, args=(address, ended), name="answers", daemon=True).start()
        try:
            code = _serve(chosen)
        finally:
            ended.set()
    raise typer.Exit(code)


def _report_interrupted_runs() -> None:
    """Report runs failed that were going when the last `dev` ended, so that none waits for them.

    Their processes ended with it, and nobody else works in this folder.
    """
    with dagster_instance() as instance:
        for run in instance.get_runs(RunsFilter(statuses=INTERRUPTED)):
            instance.report_run_failed(run, "`dev` ended while this run was going; its batches are planned again")


def _serve(port: int) -> int:
    """Run `dagster dev` until it ends; its exit code. It ends with this process, however this one ends."""
    command = [
        sys.executable,
        "-m",
        "dagster",
        "dev",
        "-w",
        str(project_file("workspace.yaml")),
        "--log-level",
        "warning",
    ]
    keeper = [sys.executable, "-m", keeper_module.__name__, str(os.getpid())]
    process = subprocess.Popen(
        [*keeper, *command, "-h", "127.0.0.1", "-p", str(port)],
        start_new_session=True,
        env={**with_this_package(os.environ), "PYTHONWARNINGS": "ignore"},
    )
    try:
        return process.wait()
    finally:
        with uninterrupted():
            process.terminate()
            process.wait()


class Records:
    """The demo records by database, and how many of each were submitted; `folder` remembers that."""

    def __init__(self, files: Mapping[str, Path], folder: Path) -> None:
        self._lines = {
            name: path.read_text(encoding="utf-8").splitlines(keepends=True) for name, path in files.items()
        }
        self._files = files
        self._kept = folder / TRICKLED_FILE
        self._submitted = Counter(json.loads(self._kept.read_text("utf-8")) if self._kept.exists() else {})

    @property
    def databases(self) -> list[str]:
        """Those of which records are left."""
        return [name for name, lines in self._lines.items() if self._submitted[name] < len(lines)]

    def next_batch(self, name: str) -> tuple[Path, int]:
        """A file of the next records of a database, and the number of this batch, from 1."""
        start = self._submitted[name]
        path = self._files[name].with_suffix(".next.jsonl")
        path.write_text("".join(self._lines[name][start : start + RECORDS_A_BATCH]), encoding="utf-8")
        return path, start // RECORDS_A_BATCH + 1

    def note_submitted(self, name: str) -> None:
        """The next batch of a database is submitted."""
        self._submitted[name] += RECORDS_A_BATCH
        self._kept.write_text(json.dumps(self._submitted), encoding="utf-8")


def _trickle(
    services: Services,
    records: Records,
    seconds: float,
    ended: threading.Event,
    planted: Mapping[tuple[str, int], BatchPlan],
) -> None:
    """Submit a small batch of each database now and then, until all demo records are submitted once."""
    while databases := records.databases:
        for name in databases:
            path, number = records.next_batch(name)
            _plant(planted.get((name, number)))
            submitter = services.submitter(services.settings.database(name), lambda line: None)
            try:
                submitter.submit([path])
            except Exception as error:  # noqa: BLE001 - a thread's boundary: the next batch may come through
                if ended.is_set():
                    return
                print_error(str(error) or type(error).__name__)
            records.note_submitted(name)
            if ended.wait(seconds):
                return


def _plant(plan: BatchPlan | None) -> None:
    """Tell the embedded OpenAI server what becomes of the next batch."""
    if plan is None:
        return
    order = PlanOrder(plan=plan, next=1).model_dump_json().encode()
    control = os.environ["OPENAI_BASE_URL"].removesuffix("/v1") + f"{CONTROL_PREFIX}/plans"
    with urlopen(Request(control, data=order, method="POST"), timeout=ANSWER_SECONDS):
        pass


def _say_when_it_answers(address: str, ended: threading.Event) -> None:
    """Dagster's own lines come before: say the address again once it leads somewhere."""
    while not ended.wait(ANSWER_SECONDS):
        try:
            with urlopen(f"{address}/server_info", timeout=ANSWER_SECONDS):
                STDOUT.print(f"Dagster's UI answers: {address}")
                return
        except OSError:
            continue


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
