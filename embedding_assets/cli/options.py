"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

DatabaseArgument = Annotated[str, typer.Argument(help="The database.")]
VersionArgument = Annotated[
    str | None, typer.Argument(metavar="[VERSION]", help="A version or a tag; by default the published one.")
]
VersionOption = Annotated[str | None, typer.Option("--version", help="The same as an option.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def one_version(argument: str | None, option: str | None) -> str | None:
    """The version that was named, either way. Wrong usage where both were, differently."""
    if argument is not None and option is not None and argument != option:
        raise typer.BadParameter(f"{argument} and {option} are two versions")
    return argument if argument is not None else option
