"""What commands print: tables or one JSON document on stdout, progress and errors on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import rich.table
from rich.console import Console, ConsoleDimensions
from rich.markup import escape

from embedding_assets.submission.submit import Submission

PIPED_COLUMNS = 1_000_000
"""Wider than any line: what a program reads is neither cut off nor broken."""


class WholeConsole(Console):
    """A console as wide as its terminal, or as `COLUMNS` says; where its output goes elsewhere, without an end."""

    @property
    def size(self) -> ConsoleDimensions:
        """Columns and rows."""
        usual = super().size
        given = self._width is not None or self.file.isatty()
        return usual if given else ConsoleDimensions(PIPED_COLUMNS, usual.height)

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        self._width, self._height = new_size


class Table(rich.table.Table):
    """A table that never cuts a value off: what is too wide for the terminal goes on in the next line."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        """Add a row."""
        super().add_row(*cells, **options)
        for column in self.columns:
            column.overflow = "fold"


STDOUT = WholeConsole(markup=False, highlight=False)
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


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 batch`, `2 batches`."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def told_requests(sent: Submission, *, dry_run: bool) -> str:
    """What was sent, or would be, and what it costs."""
    price = "of unknown price" if sent.price_usd is None else f"{sent.price_usd:.6f} USD"
    what = f"{counted(sent.requests, 'request')} in {counted(len(sent.batches), 'batch', 'batches')}"
    return f"{what} {'would be sent' if dry_run else 'sent'}: {counted(sent.tokens, 'token')}, {price}"


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
