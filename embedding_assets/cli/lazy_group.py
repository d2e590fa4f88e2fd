"""The commands, each imported when it is run: `--help` needs none of them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from embedding_assets.extras import Extra, require_extra

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo:demo", "Run everything once on this machine: no account, no key, no download."),
    "dev": (
        "dev:dev",
        "Open the Dagster UI on the embedded servers, with demo batches arriving.",
    ),
    "local": (
        "local:local",
        "Run the embedded S3, DynamoDB and OpenAI until Ctrl-C, and print the settings that lead to them.",
    ),
    "init": ("init:init", "Make the table and the bucket of the settings; what is there is left as it is."),
    "submit": (
        "submit:submit",
        "Submit records as OpenAI batches, after every file was checked whole.",
    ),
    "status": ("status:status", "Show the backlog by status and age, or the whole story of one batch."),
    "ingest": ("ingest:ingest", "Plan what is ready at OpenAI, run it on the Dagster instance, publish, mark."),
    "reprocess": (
        "batches:reprocess",
        "Open final batches again: the next execution publishes them again.",
    ),
    "resubmit": (
        "batches:resubmit",
        "Submit failed and unfinished requests that a retry can help as new batches.",
    ),
    "reset": ("batches:reset", "Change the row alone: its status, and no longer set aside."),
    "acknowledge": (
        "batches:acknowledge",
        "Leave batches as they are, with a reason: nothing warns of them any more.",
    ),
    "cancel": (
        "batches:cancel",
        "Ask OpenAI to cancel batches; what was embedded by then is published and paid for.",
    ),
    "search": ("search:search", "Find the records of the published version that are nearest to TEXT."),
    "serve": (
        "serve:serve",
        "Search the published versions by HTTP and on a page, read-only; new versions are taken up at once.",
    ),
    "doctor": (
        "doctor:doctor",
        "Check bucket, table and key for real, from permissions to the published version.",
    ),
    "snapshots": ("snapshots:app", "Published versions."),
    "targets": ("targets:app", "Servers that hold what is published, beside the bucket."),
}
"""By name: where it is below `embedding_assets.cli`, and the first line of its help (a test compares them)."""


EXTRAS: dict[str, Extra] = {"demo": "local", "dev": "local", "local": "local", "serve": "serve"}
"""The extra that a command needs, if it is not `pipeline`."""


def load(name: str) -> Any:
    """The command or group of this name, imported now. Raises MissingExtraError if its extra is not installed."""
    require_extra(EXTRAS.get(name, "pipeline"), f"`embedding-assets {name}`")
    module, _, attribute = COMMANDS[name][0].partition(":")
    found = getattr(import_module(f"embedding_assets.cli.{module}"), attribute)
    if isinstance(found, typer.Typer):
        group = typer.main.get_command(found)
        group.name = name
        return group
    return _as_command(name, found)


def _as_command(name: str, function: Callable[..., object]) -> Any:
    """What typer makes of a function that is one command of several."""
    alone = typer.Typer()
    alone.callback()(lambda: None)
    alone.command(name)(function)
    group: Any = typer.main.get_command(alone)
    return group.commands[name]


class LazyGroup(TyperGroup):
    """Lists every command by its name and first line of help, and imports the one that is run."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command itself; for a page of help (with a context) what is shown of it there."""
        if cmd_name not in COMMANDS:
            return None
        if ctx is None:
            return load(cmd_name)
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name][1])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is to be run, imported, and its arguments."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, load(name) if name in COMMANDS else None, rest
