"""Small pictures for Dagster's metadata: plain SVG in a data URI, as Markdown, which its UI shows by itself."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 460, 150
LEFT, RIGHT, TOP, BOTTOM = 56, 8, 22, 18
"""Room around the bars, in pixels."""
GAP = 0.25
"""Share of a bar's room that stays empty."""
MOST_THICK = 60
"""Pixels of a bar, if there are few."""
TEXT = "#888"
"""Read on a white page and on a dark one."""
BLUE, ORANGE, GREY = "#4c6ef5", "#e8590c", "#adb5bd"


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
    high, wide = HEIGHT - TOP - BOTTOM, (WIDTH - LEFT - RIGHT) / max(1, len(shown))
    drawn = [_text(LEFT, 12, title), _text(LEFT - 6, TOP + 8, _number(most), "end")]
    drawn.append(_text(LEFT - 6, HEIGHT - BOTTOM, "0", "end"))
    thick = min(wide * (1 - GAP), MOST_THICK)
    for position, part in enumerate(parts):
        boxes = []
        for number, bar in enumerate(shown):
            if bar.values[position]:
                foot = HEIGHT - BOTTOM - high * sum(bar.values[:position]) / most
                tall = high * bar.values[position] / most
                boxes.append(_box(LEFT + wide * (number + GAP / 2), foot - tall, thick, tall))
        drawn.append(f'<path d="{"".join(boxes)}" fill="{part.colour}"/>')
    drawn.append(f'<path d="M{LEFT} {HEIGHT - BOTTOM}H{WIDTH - RIGHT}" stroke="{TEXT}"/>')
    drawn += _legend(parts) if len(parts) > 1 else []
    if shown:
        drawn.append(_text(LEFT, HEIGHT - 4, shown[0].label))
    if len(shown) > 1:
        drawn.append(_text(WIDTH - RIGHT, HEIGHT - 4, shown[-1].label, "end"))
    last = "nothing yet"
    if shown:
        values = zip(parts, shown[-1].values, strict=True)
        last = f"{shown[-1].label}: {', '.join(f'{_number(value)} {part.name}' for part, value in values)}"
    return _markdown("".join(drawn), f"{title}; {last}")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.2f}"


def _box(x: float, y: float, width: float, height: float) -> str:
    """A rectangle as a part of a path."""
    return f"M{x:.1f} {y:.1f}h{width:.1f}v{height:.1f}h-{width:.1f}z"


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>'


def _legend(parts: Sequence[Part]) -> list[str]:
    drawn, x = [], WIDTH - RIGHT - sum(_room(part) for part in parts)
    for part in parts:
        drawn += [f'<path d="{_box(x, 4, 9, 9)}" fill="{part.colour}"/>', _text(x + 13, 12, part.name)]
        x += _room(part)
    return drawn


def _room(part: Part) -> float:
    """Pixels that a name in the legend takes, about."""
    return 26 + 6.5 * len(part.name)


def _markdown(drawn: str, text: str) -> str:
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" '
        f'font-size="11" fill="{TEXT}">{drawn}</svg>'
    )
    spoken = "".join(" " if letter in "[]\n" else letter for letter in text)
    return f"![{spoken}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"
