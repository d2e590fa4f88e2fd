"""What a check found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Figures = Mapping[str, int | float | str]


@dataclass(frozen=True)
class Finding:
    """Whether it holds, one line that says so, and figures. `table` is Markdown: a table or a picture.

    `notes` are Markdown too, shown below the line: a check's metadata shows Markdown only when it is clicked on.
    """

    holds: bool
    line: str
    figures: Figures = field(default_factory=dict)
    table: str = ""
    notes: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """The line; if there are notes, the first part of it and these."""
        return "\n\n".join([self.line.partition("; ")[0], *self.notes]) if self.notes else self.line
