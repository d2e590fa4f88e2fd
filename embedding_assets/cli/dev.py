"""`dev`: the web UI with everything running on this machine, and new demo batches trickling in."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from typing import Annotated
from urllib.request import Request, urlopen

import typer

from embedding_assets.cli.demo import demo_files, embedded
from embedding_assets.cli.home import project_file
from embedding_assets.cli.output import STDOUT, print_error
from embedding_assets.local.openai_plans import BatchPlan, PlanOrder, RequestFault
from embedding_assets.local.openai_traffic import CONTROL_PREFIX
from embedding_assets.local.stack import with_this_package
from embedding_assets.processes import keeper as keeper_module
from embedding_assets.processes.interruption import uninterrupted
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
ANSWER_SECONDS = 1.0
"""Between two looks whether the UI answers, and how long one may take."""


def dev(
    port: Annotated[int | None, typer.Option("--port", "-p", help="The UI's port; by default a free one.")] = None,
    trickle: Annotated[float, typer.Option("--trickle", help="Seconds between new batches.")] = TRICKLE_SECONDS,
    failures: Annotated[
        bool,
        typer.Option(help="Let one batch of lines fail, and five requests of one batch of words."),
    ] = True,
) -> None:
    """Open the Dagster UI on the embedded servers, with demo batches arriving."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="embedding-assets-dev-")))
        os.environ.setdefault("EMBEDDING_ASSETS_SENSOR_SECONDS", SENSOR_SECONDS)
        os.environ.setdefault("EMBEDDING_ASSETS_MIN_READY", "1")
        services = embedded(stack, folder, latency=BATCH_SECONDS, jitter=BATCH_SECONDS / 2)
        chosen = port or _free_port()
        ended = threading.Event()
        threading.Thread(
            target=_trickle,
            args=(services, demo_files(folder), trickle, ended, PLANTED if failures else {}),
            name="trickle",
            daemon=True,
        ).start()
        address = f"http://127.0.0.1:{chosen}"
        STDOUT.print(f"Dagster's UI: {address}  (starting; Ctrl-C ends everything)")
        threading.Thread(target=_say_when_it_answers, args=(address, ended), name="answers", daemon=True).start()
        try:
            code = _serve(chosen)
        finally:
            ended.set()
    raise typer.Exit(code)


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


def _trickle(
    services: Services,
    files: dict[str, Path],
    seconds: float,
    ended: threading.Event,
    planted: Mapping[tuple[str, int], BatchPlan],
) -> None:
    """Submit a small batch of each database now and then, until all demo records are submitted once."""
    waiting = {name: path.read_text(encoding="utf-8").splitlines(keepends=True) for name, path in files.items()}
    numbers: Counter[str] = Counter()
    for name in cycle(waiting):
        if not any(waiting.values()):
            return
        batch, waiting[name] = waiting[name][:RECORDS_A_BATCH], waiting[name][RECORDS_A_BATCH:]
        if batch:
            path = files[name].with_suffix(".next.jsonl")
            path.write_text("".join(batch), encoding="utf-8")
            numbers[name] += 1
            _plant(planted.get((name, numbers[name])))
            submitter = services.submitter(services.settings.database(name), lambda line: None)
            try:
                submitter.submit([path])
            except Exception as error:  # noqa: BLE001 - a thread's boundary: the next batch may come through
                if not ended.is_set():
                    print_error(str(error) or type(error).__name__)
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
