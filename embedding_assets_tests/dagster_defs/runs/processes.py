"""Processes of the command line that can be killed: forked from one that has imported everything already.

Starting Python and importing Dagster and Chroma takes seconds; what is tested begins after that.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

PRELOADED = [
    "embedding_assets.cli.main",
    "embedding_assets.dagster_defs.assets.merging",
    "embedding_assets.dagster_defs.sensors.pending_batches",
    "embedding_assets.dagster_defs.sensors.completion",
    "dagster_aws.s3",
]


DEFAULTS: dict[signal.Signals, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}
"""How a command finds the signals that end it."""


def start_command(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    prepare: Callable[[], None] | None = None,
) -> ForkServerProcess:
    """Run `embedding-assets` in a process of its own; what it prints goes to files `stdout` and `stderr`.

    `prepare`, a function of a module, is called there before.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    settings = (list(arguments), dict(environment), str(folder), prepare)
    process = context.Process(target=_run, args=settings, daemon=True)
    process.start()
    return process


def _run(
    arguments: list[str], environment: dict[str, str], folder: str, prepare: Callable[[], None] | None
) -> None:
    # As a shell starts it: whoever started the tests may ignore signals, which a fork server passes on.
    for number, handler in DEFAULTS.items():
        signal.signal(number, handler)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), descriptor)
    sys.argv = ["embedding-assets", *arguments]
    from embedding_assets.cli.main import run

    if prepare is not None:
        prepare()
    run()
