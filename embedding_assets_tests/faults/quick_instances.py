"""Ephemeral Dagster instances in a tenth of a second less each: every run of a scene has one of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from dagster._core.storage.sql import create_engine
from sqlalchemy.pool import QueuePool

STORAGES = ("dagster._core.storage.runs.in_memory", "dagster._core.storage.event_log.in_memory")

ANY_THREAD = {"check_same_thread": False}


@contextmanager
def quick_instances() -> Iterator[None]:
    """While open, their databases note no revision for migrations, and keep their connections."""
    with pytest.MonkeyPatch.context() as patch:
        for storage in STORAGES:
            patch.setattr(f"{storage}.stamp_alembic_rev", lambda *given: None)
            patch.setattr(f"{storage}.NullPool", QueuePool)
            patch.setattr(f"{storage}.create_engine", partial(create_engine, connect_args=ANY_THREAD))
        yield
