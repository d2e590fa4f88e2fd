"""A folder that keeps the embedded servers, Dagster's home and the settings that lead another shell there."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

HOME = "dagster_home"
SETTINGS_FILE = "settings.sh"


def export_lines(settings: Mapping[str, str]) -> list[str]:
    """The settings as lines for a shell."""
    return [f"export {name}={shlex.quote(value)}" for name, value in settings.items()]


def write_settings(folder: Path, settings: Mapping[str, str]) -> str:
    """Keep the lines in the folder; return the command that reads them."""
    file = folder / SETTINGS_FILE
    file.write_text("\n".join(export_lines(settings)) + "\n", encoding="utf-8")
    return f". {shlex.quote(str(file))}"
