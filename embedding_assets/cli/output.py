"""What commands print: tables or one JSON document on stdout, progress and errors on stderr.

Nothing reaches the terminal but through here: secrets are replaced, and control characters made visible, wherever
a text came from.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson
import rich.table
from rich.console import Console, ConsoleDimensions
from rich.markup import escape

from embedding_assets.text.control_characters import visible, visible_json
from embedding_assets.text.counted import counted
from embedding_assets.text.redaction import redacted, without_secrets
from embedding_assets.text.usd import usd_text

if TYPE_CHECKING:
    from embedding_assets.submission.submit import Submission

PIPED_COLUMNS = 1_000_000
"""Wider than any line: what a program reads is neither cut off nor broken."""


def shown(text: str) -> str:
    """`text` as a person may see it: without secrets, its control characters and line breaks visible."""
    return visible(without_secrets(text))


class WholeConsole(Console):
    """A console as wide as its terminal, or as `COLUMNS` says; where its output goes elsewhere, without an end."""

    @property
    def size(self) -> ConsoleDimensions:
        """Columns and rows."""
        usual = super().size
        given = self._width is not None or "COLUMNS" in self._environ or self.file.isatty()
        return usual if given else ConsoleDimensions(PIPED_COLUMNS, usual.height)

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        self._width, self._height = new_size

    def print(self, *objects: Any, **options: Any) -> None:
        """Print; each text is one line."""
        super().print(*(shown(one) if isinstance(one, str) else one for one in objects), **options)


class Table(rich.table.Table):
    """A table that never cuts a value off: what is too wide for the terminal goes on in the next line."""

    def __init__(self, *headers: Any, title: str | None = None, **options: Any) -> None:
        super().__init__(*headers, title=None if title is None else shown(title), **options)

    def add_row(self, *cells: Any, **options: Any) -> None:
        """Add a row."""
        super().add_row(*(shown(cell) if isinstance(cell, str) else cell for cell in cells), **options)
        for column in self.columns:
            column.overflow = "fold"


STDOUT = WholeConsole(markup=False, highlight=False)
STDERR = Console(stderr=True)

WARNING = "warning: "
"""How a line of progress begins that is a warning."""


@dataclass
class _Output:
    document: bool = False
    error: str | None = None


_output = _Output()


@contextmanager
def one_document(wanted: bool) -> Iterator[None]:
    """Around a command: if `wanted`, and it fails before it prints its document, `{"error": line}` is printed."""
    _output.document, _output.error = False, None
    try:
        yield
    finally:
        if wanted and _output.error is not None and not _output.document:
            # Whoever read stdout may be gone.
            with suppress(OSError):
                print_json({"error": _output.error})


def print_json(document: object) -> None:
    """One JSON document on stdout."""
    _output.document = True
    text = _plain_numbers(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    sys.stdout.write(visible_json(without_secrets(text)) + "\n")


TEXT_OR_EXPONENT = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9.]+[eE][+-]?[0-9]+')


def _plain_numbers(text: str) -> str:
    """JSON with `0.00000042` for `4.2e-7`: not every reader, and no shell, takes exponents."""
    return TEXT_OR_EXPONENT.sub(
        lambda found: found[0] if found[0].startswith('"') else f"{Decimal(found[0]):f}", text
    )


def print_error(message: str) -> None:
    """One clear line on stderr."""
    line = " ".join(message.split())
    _output.error = _output.error or redacted(line)
    _on_stderr("[bold red]error:[/] ", line)


def warn(message: str) -> None:
    """A line on stderr that is no failure."""
    _on_stderr("[yellow]warning:[/] ", message)


def _on_stderr(markup: str, message: str) -> None:
    STDERR.print(markup + _escaped(message), soft_wrap=True, highlight=False)


def _escaped(message: str) -> str:
    """Not ours: no secret, no control character, no markup."""
    return escape(visible(redacted(message)))


def requests_line(sent: Submission, *, dry_run: bool) -> str:
    """What was sent, or would be, and what it costs."""
    price = "of unknown price" if sent.price_usd is None else f"{usd_text(sent.price_usd)} USD"
    batches = counted(len(sent.batches), "batch", "batches")
    what = f"{counted(sent.sent, 'request')} in {batches} {'would be sent' if dry_run else 'sent'}"
    shared = sent.requests - sent.reused - sent.sent
    saved = [
        f"{counted(shared, 'record')} share{'s' if shared == 1 else ''} the request of another" if shared else "",
        f"{counted(sent.reused, 'record')} take{'s' if sent.reused == 1 else ''} a published vector"
        if sent.reused
        else "",
    ]
    return "; ".join([f"{what}: {counted(sent.tokens, 'token')}, {price}", *filter(None, saved)])


def note(line: str) -> None:
    """A line on stderr about what goes on; one that begins with WARNING is shown as a warning."""
    if line.startswith(WARNING):
        warn(line.removeprefix(WARNING))
    else:
        _on_stderr("", line)


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """A line that changes on a terminal, lines elsewhere; gives the function that says what goes on."""
    if not STDERR.is_terminal:
        yield note
        return
    with STDERR.status("starting") as status:
        # A warning must not be gone with the next line.
        yield lambda line: note(line) if line.startswith(WARNING) else status.update(_escaped(line))
