"""How ages are told."""

from __future__ import annotations

from datetime import timedelta


def told_age(age: timedelta) -> str:
    """Hours and minutes; an instant in the future is no age."""
    hours, rest = divmod(max(0, int(age.total_seconds())), 3600)
    return f"{hours}h{rest // 60:02d}m"
