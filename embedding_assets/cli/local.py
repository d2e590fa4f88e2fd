"""`local`: the embedded S3, DynamoDB and OpenAI alone, with the settings for another shell."""

from __future__ import annotations

import shlex
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from embedding_assets.cli.options import JsonOption
from embedding_assets.cli.output import STDERR, STDOUT, note, print_json, progress
from embedding_assets.local.stack import EmbeddedStack

HOME = "dagster_home"
SETTINGS_FILE = "settings.sh"


def local(
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Where the settings, logs and Dagster's home are kept.")
    ] = None,
    latency: Annotated[float, typer.Option("--latency", min=0, help="Seconds that a batch takes.")] = 2.0,
    as_json: JsonOption = False,
) -> None:
    """Run the embedded S3, DynamoDB and OpenAI until Ctrl-C, and print the settings that lead to them.

    What is in the bucket, the table and at OpenAI ends with it.
    """
    with ExitStack() as stack:
        folder = directory or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="embedding-assets-local-"))
        )
        with progress() as report:
            report("starting S3, DynamoDB and OpenAI on this machine")
            servers = stack.enter_context(EmbeddedStack(embedder="minilm", latency=latency, state_dir=folder))
        settings = {**servers.environment, "DAGSTER_HOME": str((folder / HOME).resolve())}
        lines = [f"export {name}={shlex.quote(value)}" for name, value in settings.items()]
        if directory is not None:
            (folder / SETTINGS_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")
            note(f"the same lines are in {folder / SETTINGS_FILE}: . {shlex.quote(str(folder / SETTINGS_FILE))}")
        if as_json:
            print_json(settings)
        else:
            for line in lines:
                STDOUT.print(line, soft_wrap=True)
        STDERR.print("ready; Ctrl-C ends the servers and what is in them", highlight=False)
        threading.Event().wait()
