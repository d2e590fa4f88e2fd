"""`local`: the embedded S3, DynamoDB and OpenAI alone, with the settings for another shell."""

from __future__ import annotations

import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from embedding_assets.cli.kept_stack import HOME, SETTINGS_FILE, export_lines, write_settings
from embedding_assets.cli.options import JsonOption
from embedding_assets.cli.output import STDERR, STDOUT, note, print_json, progress
from embedding_assets.local.stack import EmbeddedStack


def local(
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Where the servers and Dagster's home are kept.")
    ] = None,
    latency: Annotated[float, typer.Option("--latency", min=0, help="Seconds that a batch takes.")] = 2.0,
    as_json: JsonOption = False,
) -> None:
    """Run the embedded S3, DynamoDB and OpenAI until Ctrl-C, and print the settings that lead to them.

    With --dir another `local` or `dev` with this folder goes on from what is in them; without it that is lost.
    """
    with ExitStack() as stack:
        folder = directory or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="embedding-assets-local-"))
        )
        with progress() as report:
            report("starting S3, DynamoDB and OpenAI on this machine")
            servers = stack.enter_context(EmbeddedStack(embedder="minilm", latency=latency, state_dir=directory))
        settings = {**servers.environment, "DAGSTER_HOME": str((folder / HOME).resolve())}
        if directory is not None:
            note(f"the same lines are in {folder / SETTINGS_FILE}: {write_settings(folder, settings)}")
        if as_json:
            print_json(settings)
        else:
            for line in export_lines(settings):
                STDOUT.print(line, soft_wrap=True)
        left = "ends the servers" if directory is not None else "ends the servers and what is in them"
        STDERR.print(f"ready; Ctrl-C {left}", highlight=False)
        threading.Event().wait()
