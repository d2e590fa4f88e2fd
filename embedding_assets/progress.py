"""Progress of long work, a line at a time."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str], None]
"""Takes one line for the person who waits."""
