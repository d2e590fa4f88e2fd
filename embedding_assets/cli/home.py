"""The Dagster home: made with the project's `dagster.yaml` where the environment names none."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import embedding_assets
from embedding_assets.errors import SettingsError

DEFAULT = Path(".dagster_home")


def ensure_dagster_home(home: Path | None = None) -> Path:
    """Set DAGSTER_HOME to `home`, else leave it as it is set, else to `./.dagster_home`; make it if need be."""
    chosen = home or Path(os.environ.get("DAGSTER_HOME") or DEFAULT)
    path = chosen.expanduser().resolve()
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not (path / "dagster.yaml").exists():
            shutil.copyfile(_our_dagster_yaml(), path / "dagster.yaml")
    except OSError as error:
        raise SettingsError(f"DAGSTER_HOME={path} cannot be used: {error.strerror}") from error
    os.environ["DAGSTER_HOME"] = str(path)
    return path


def project_file(name: str) -> Path:
    """A file of the project's root, also where the package was installed from a wheel."""
    package = Path(embedding_assets.__file__).parent
    beside = package.parent / name
    return beside if beside.exists() else package / name


def _our_dagster_yaml() -> Path:
    return project_file("dagster.yaml")
