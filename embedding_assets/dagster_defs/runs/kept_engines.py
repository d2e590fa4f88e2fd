"""One database engine for each file of Dagster's SQLite event log, instead of one for each event.

SQLAlchemy keeps compiled statements in the engine, and Dagster makes a new one whenever it writes or reads: more
than a third of what an event costs. Its engines have no pool, so that one that is kept holds no connection open.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dagster._core.storage.event_log.sqlite import sqlite_event_log
from sqlalchemy import Engine

CREATE = "create_engine"


@contextmanager
def kept_engines() -> Iterator[None]:
    """While the block goes on, Dagster in this process gets the engine that it made before for the same file."""
    module = vars(sqlite_event_log)
    create = module.get(CREATE)
    if create is None:
        yield
        return
    made: dict[str, Engine] = {}

    def kept(address: str, **options: Any) -> Engine:
        if address not in made:
            made[address] = create(address, **options)
        return made[address]

    module[CREATE] = kept
    try:
        yield
    finally:
        module[CREATE] = create
