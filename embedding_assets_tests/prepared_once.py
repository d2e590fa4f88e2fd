"""What libraries prepare again for each client, run and connection, prepared once in a process of tests.

A third of the processor time of tests that run executions: Alembic loads all of Dagster's migrations for each
run's database, botocore makes a session for each client, and each HTTP client loads all certificates.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from embedding_assets.bucket import aws
from embedding_assets.calls.credentials import check_credentials

SEEN_BY_BOTOCORE = ("AWS_", "BOTO", "HOME", "USERPROFILE")


@contextmanager
def prepared_once() -> Iterator[None]:
    """While open, equal settings give the object that was made before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", _once(ScriptDirectory.from_config, _scripts))
        patch.setattr(aws, "_session", _once(aws._session, _environment))
        patch.setattr(ssl, "create_default_context", _once(ssl.create_default_context, _trust))
        yield


def _once(make: Callable[..., Any], key: Callable[..., Hashable]) -> Callable[..., Any]:
    made: dict[Hashable, Any] = {}

    def given(*arguments: Any, **options: Any) -> Any:
        name = key(*arguments, **options)
        if name not in made:
            made[name] = make(*arguments, **options)
        return made[name]

    return given


def _scripts(config: Config) -> Hashable:
    return config.config_file_name, config.get_main_option("script_location")


def _environment() -> Hashable:
    check_credentials()
    return tuple(sorted(item for item in os.environ.items() if item[0].startswith(SEEN_BY_BOTOCORE)))


def _trust(*purpose: Any, **options: Any) -> Hashable:
    return purpose, tuple(sorted(options.items())), os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
