"""Ages as text."""

from __future__ import annotations

from datetime import timedelta

HOURS_SHOWN = 100
"""From so many hours on only days are shown."""


def age_text(age: timedelta) -> str:
    """Hours and minutes, or days where it is long; an instant in the future is no age."""
    minutes = max(0, int(age.total_seconds())) // 60
    hours = minutes // 60
    return f"{hours // 24}d" if hours >= HOURS_SHOWN else f"{hours}h{minutes % 60:02d}m"
