"""One database engine for each file of Dagster's SQLite event log, instead of one for each event.

SQLAlchemy keeps compiled statements in the engine, and Dagster makes a new one whenever it writes or reads: more
than a third of what an event costs. Opening the file each time costs another fifth, so a connection stays open.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dagster._core.storage.event_log.sqlite import sqlite_event_log
from sqlalchemy import Engine
from sqlalchemy.pool import QueuePool

CREATE = "create_engine"


@contextmanager
def kept_engines() -> Iterator[None]:
    """While the block goes on, Dagster in this process gets the engine that it made before for the same file.

    Each keeps its connections, of which no transaction is open between two events; they are closed at the end.
    """
    module = vars(sqlite_event_log)
    create = module.get(CREATE)
    if create is None:
        yield
        return
    made: dict[str, Engine] = {}

    def kept(address: str, **options: Any) -> Engine:
        if address not in made:
            pooled = {**options, "poolclass": QueuePool, "max_overflow": -1}
            made[address] = create(address, **pooled)
            # Dagster disposes of its engines after each use.
            vars(made[address])["dispose"] = lambda close=True: None
        return made[address]

    module[CREATE] = kept
    try:
        yield
    finally:
        module[CREATE] = create
        for engine in made.values():
            Engine.dispose(engine)
