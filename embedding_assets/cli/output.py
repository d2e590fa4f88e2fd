"""What commands print: tables or one JSON document on stdout, progress and errors on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import orjson
from rich.console import Console

STDOUT = Console()
STDERR = Console(stderr=True)


def print_json(document: object) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n")


def print_error(message: str) -> None:
    """One clear line on stderr."""
    STDERR.print(f"[bold red]error:[/] {_escaped(' '.join(message.split()))}", soft_wrap=True, highlight=False)


def warn(message: str) -> None:
    """A line on stderr that is no failure."""
    STDERR.print(f"[yellow]warning:[/] {_escaped(message)}", soft_wrap=True, highlight=False)


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """A line that changes on a terminal, lines elsewhere; gives the function that says what goes on."""
    if not STDERR.is_terminal:
        yield lambda line: STDERR.print(_escaped(line), soft_wrap=True, highlight=False)
        return
    with STDERR.status("starting") as status:
        yield lambda line: status.update(_escaped(line))


def _escaped(text: str) -> str:
    return text.replace("[", "\\[")
