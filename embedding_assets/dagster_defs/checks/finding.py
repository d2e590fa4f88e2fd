"""What a check found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Figures = Mapping[str, int | float | str]


@dataclass(frozen=True)
class Finding:
    """Whether it holds, one line that says so, and figures. `table` is Markdown: a table or a picture."""

    holds: bool
    line: str
    figures: Figures = field(default_factory=dict)
    table: str = ""
