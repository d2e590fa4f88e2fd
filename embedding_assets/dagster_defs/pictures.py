"""Small pictures for Dagster's metadata: plain SVG in a data URI, as Markdown, which its UI shows by itself.

Dagster shows Markdown of less than 1,000 characters in its place, and more only when it is clicked on
(`MarkdownMetadataEntry` in its webserver, 1.13), so the SVG is short.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

WIDTH, HEIGHT = 460, 130
LEFT, RIGHT, TOP, BOTTOM = 68, 4, 22, 18
"""Room around the bars, in pixels."""
FILLED = 0.75
"""Share of a bar's room that it fills."""
MOST_THICK = 60
"""Pixels of a bar, if there are few."""
TEXT = "#888"
"""Read on a white page and on a dark one."""
BLUE, ORANGE, GREY = "#46f", "#e60", "#bbb"
UNQUOTED = " !$'*+,/:;=?@"
"""Characters, beside letters and digits, that may be in a data URI in the angle brackets of a Markdown link."""


@dataclass(frozen=True)
class Part:
    """What a colour of the bars means."""

    name: str
    colour: str


@dataclass(frozen=True)
class Bar:
    """One bar: its label, and how much of each part it has."""

    label: str
    values: tuple[float, ...]


def bars(title: str, parts: Sequence[Part], shown: Sequence[Bar]) -> str:
    """Markdown with a picture of stacked bars from zero, the first and the last of them labelled.

    The picture's text, for those who cannot see it, has the values of the last bar.
    """
    most = max((sum(bar.values) for bar in shown), default=0.0) or 1.0
    foot = HEIGHT - BOTTOM
    legend = "".join(f" <tspan fill='{part.colour}'>{escape(part.name)}</tspan>" for part in parts)
    drawn = [_text(LEFT, 12, escape(title) + (legend if len(parts) > 1 else ""))]
    drawn.append(_text(LEFT - 6, TOP + 8, _number(most), "end"))
    drawn += [_path(part, number, shown, most) for number, part in enumerate(parts)]
    drawn.append(f"<path d='M{LEFT} {foot}H{WIDTH - RIGHT}' stroke='{TEXT}'/>")
    if shown:
        drawn.append(_text(LEFT, HEIGHT - 4, escape(shown[0].label)))
    if len(shown) > 1:
        drawn.append(_text(WIDTH - RIGHT, HEIGHT - 4, escape(shown[-1].label), "end"))
    last = "nothing yet"
    if shown:
        values = zip(parts, shown[-1].values, strict=True)
        last = f"{shown[-1].label}: {', '.join(f'{_number(value)} {part.name}' for part, value in values)}"
    return _markdown("".join(drawn), f"{title}; {last}")


def _path(part: Part, number: int, shown: Sequence[Bar], most: float) -> str:
    """The part of every bar as one path of thick lines, each relative to the end of the one before."""
    wide, pixels = (WIDTH - LEFT - RIGHT) / max(1, len(shown)), (HEIGHT - TOP - BOTTOM) / most
    lines: list[str] = []
    x = y = 0
    for place, bar in enumerate(shown):
        if bar.values[number]:
            low, high = (round(sum(bar.values[:end]) * pixels) for end in (number, number + 1))
            tall = max(1, high - low)
            at = round(LEFT + wide * (place + 0.5)), HEIGHT - BOTTOM - low
            lines.append(f"m{at[0] - x} {at[1] - y}v-{tall}")
            x, y = at[0], at[1] - tall
    thick = round(min(wide * FILLED, MOST_THICK))
    return f"<path d='{''.join(lines)}' stroke='{part.colour}' stroke-width='{thick}'/>" if lines else ""


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.2f}"


def _text(x: int, y: int, escaped: str, anchor: str = "") -> str:
    return f"<text x='{x}' y='{y}'{f' text-anchor={anchor!r}' * bool(anchor)}>{escaped}</text>"


def _markdown(drawn: str, text: str) -> str:
    svg = (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{HEIGHT}' font-family='sans-serif' "
        f"font-size='11' fill='{TEXT}'>{drawn}</svg>"
    )
    spoken = "".join(" " if letter in "[]\n" else letter for letter in text)
    return f"![{spoken}](<data:image/svg+xml,{quote(svg, safe=UNQUOTED)}>)"
