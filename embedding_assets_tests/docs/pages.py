"""The project's Markdown pages: their links, headings, variables, and the command lines that they show."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
"""Every page of the project itself. Provenance files inside the package are not documentation."""

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.*?) *$")
FENCE = re.compile(r"^ *```")
INLINE = re.compile(r"``?([^`]+)``?")
VARIABLE = re.compile(r"(?:\bEMBEDDING_ASSETS|`…)_([A-Z_]*[A-Z])\b")
"""In full, or between backticks with `…` for the prefix, as in the README's table."""
PLANNED = "**planned**"
PROGRAM = "embedding-assets"
ENDS_A_COMMAND = ("#", "&&", "|", ";", "…", "\\")
"""What follows the words of one command in a shell line."""


@dataclass(frozen=True)
class Line:
    """One line of a page. `code` is true inside a fenced block."""

    page: Path
    number: int
    text: str
    code: bool

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.number}"

    @property
    def planned(self) -> bool:
        """Whether it describes something that the product does not do yet."""
        return PLANNED in self.text

    @property
    def variables(self) -> set[str]:
        """The variables of ours that it names."""
        return {f"EMBEDDING_ASSETS_{name}" for name in VARIABLE.findall(self.text)}


@dataclass(frozen=True)
class ShownCommand:
    """A command line as a page shows it; `words` are those after `embedding-assets`."""

    line: Line
    words: tuple[str, ...]


def lines_of(page: Path) -> Iterator[Line]:
    """The lines of a page, numbered from 1."""
    inside = False
    for number, text in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        fence = FENCE.match(text) is not None
        inside ^= fence
        yield Line(page, number, text, inside and not fence)


def all_lines() -> Iterator[Line]:
    """The lines of all pages."""
    for page in PAGES:
        yield from lines_of(page)


def links(page: Path) -> Iterator[tuple[Line, str]]:
    """The links of a page to other places in the project."""
    for line in lines_of(page):
        if not line.code:
            for target in LINK.findall(line.text):
                if "://" not in target:
                    yield line, target


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for line in lines_of(page):
        heading = None if line.code else HEADING.match(line.text)
        if heading is not None:
            words = re.sub(r"[^\w\- ]", "", heading.group(1).lower())
            found.add(words.replace(" ", "-"))
    return found


def shown_commands(page: Path) -> Iterator[ShownCommand]:
    """The command lines of ours on a page: in code blocks, and between backticks."""
    for line in lines_of(page):
        texts = [line.text] if line.code else INLINE.findall(line.text)
        for text in texts:
            start = text.find(f"{PROGRAM} ")
            if start < 0 or text[:start].strip() not in ("", "$"):
                continue
            words = _words(text[start + len(PROGRAM) :])
            if words and not words[0].isupper():
                yield ShownCommand(line, words)


def _words(text: str) -> tuple[str, ...]:
    """The words up to a comment or another command."""
    try:
        words = shlex.split(text, comments=True)
    except ValueError:
        words = text.split()
    kept: list[str] = []
    for word in words:
        if word.startswith(ENDS_A_COMMAND):
            break
        kept.append(word)
    return tuple(kept)
