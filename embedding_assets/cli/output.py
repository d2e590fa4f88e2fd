"""What commands print: tables or one JSON document on stdout, progress and errors on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import orjson
from rich.console import Console
from rich.markup import escape

STDOUT = Console(markup=False, highlight=False)
STDERR = Console(stderr=True)

WARNING = "warning: "
"""How a line of progress begins that is a warning."""


def print_json(document: object) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n")


def print_error(message: str) -> None:
    """One clear line on stderr."""
    STDERR.print(f"[bold red]error:[/] {escape(' '.join(message.split()))}", soft_wrap=True, highlight=False)


def warn(message: str) -> None:
    """A line on stderr that is no failure."""
    STDERR.print(f"[yellow]warning:[/] {escape(message)}", soft_wrap=True, highlight=False)


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """A line that changes on a terminal, lines elsewhere; gives the function that says what goes on."""
    if not STDERR.is_terminal:
        yield lambda line: STDERR.print(escape(line), soft_wrap=True, highlight=False)
        return
    with STDERR.status("starting") as status:
        yield lambda line: _stay(line) if line.startswith(WARNING) else status.update(escape(line))


def _stay(line: str) -> None:
    """A warning must not be gone with the next line."""
    warn(line.removeprefix(WARNING))
