"""The Dagster home: made with the project's `dagster.yaml` where the environment names none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import yaml
from alembic.util import CommandError
from dagster import DagsterError, DagsterInstance, DagsterInvalidInvocationError
from dagster._check import CheckError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

import embedding_assets
from embedding_assets.errors import SettingsError
from embedding_assets.processes.file_lock import alone

DEFAULT = Path(".dagster_home")

OPENING_SECONDS = 300.0
"""How long another process may take to make the databases of a new home, on a machine that is busy."""
NOT_DAMAGED = ("locked", "full", "disk I/O")
"""What SQLite says if the file is whole, but cannot be used now."""
MAY_BE_DELETED = (
    "if it is damaged, it may be deleted: only Dagster's own history of runs and events is lost; "
    "the table and the bucket keep every batch and version"
)


def ensure_dagster_home(home: Path | None = None) -> Path:
    """Set DAGSTER_HOME to `home`, else leave it as it is set, else to `./.dagster_home`; make it if need be."""
    chosen = home or Path(os.environ.get("DAGSTER_HOME") or DEFAULT)
    path = chosen.expanduser().resolve()
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not (path / "dagster.yaml").exists():
            # Another process may look: it finds the whole file or none.
            copy = path / f"dagster.yaml.{os.getpid()}"
            shutil.copyfile(_our_dagster_yaml(), copy)
            copy.replace(path / "dagster.yaml")
    except OSError as error:
        raise SettingsError(f"DAGSTER_HOME={path} cannot be used: {error.strerror}") from error
    os.environ["DAGSTER_HOME"] = str(path)
    return path


@contextmanager
def dagster_instance() -> Iterator[DagsterInstance]:
    """The Dagster instance of DAGSTER_HOME, which is made if need be.

    One process at a time opens a home: two that make the databases of a new one at once leave them with two
    versions, and nobody can open them again. A home that cannot be written to has its databases elsewhere.

    SettingsError, in one line that says what may be deleted, if the home cannot be opened or turns out damaged.
    """
    home = ensure_dagster_home()
    try:
        with alone(home, OPENING_SECONDS) if os.access(home, os.W_OK) else nullcontext():
            instance = DagsterInstance.get()
    except (DagsterError, CheckError, SQLAlchemyError, CommandError, yaml.YAMLError, OSError) as error:
        raise SettingsError(f"DAGSTER_HOME={home} cannot be used: {_reason(error)}; {MAY_BE_DELETED}") from None
    with instance:
        try:
            yield instance
        except (SQLAlchemyError, DagsterInvalidInvocationError) as error:
            reason = _reason(error)
            hint = "" if any(word in reason for word in NOT_DAMAGED) else f"; {MAY_BE_DELETED}"
            raise SettingsError(f"DAGSTER_HOME={home} cannot be used: {reason}{hint}") from None


def _reason(error: Exception) -> str:
    """The first line: SQLAlchemy adds the statement, Dagster the whole configuration."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]


def project_file(name: str) -> Path:
    """A file of the project's root, also if the package was installed from a wheel."""
    package = Path(embedding_assets.__file__).parent
    beside = package.parent / name
    return beside if beside.exists() else package / name


def _our_dagster_yaml() -> Path:
    return project_file("dagster.yaml")
