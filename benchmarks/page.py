"""Markdown tables, and the page that has a place for each."""

from __future__ import annotations

from collections.abc import Sequence

Rows = Sequence[Sequence[object]]


def table(head: Sequence[str], rows: Rows) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def filled(page: str, name: str, text: str) -> str:
    """The page with `text` between `<!-- name -->` and `<!-- /name -->`. ValueError if it has no such place."""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, found, rest = page.partition(start)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"the page has no place {start} … {end}")
    return f"{before}{start}\n{text}\n{end}{after}"
