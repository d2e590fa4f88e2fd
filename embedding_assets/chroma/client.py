"""Clients of Chroma in this process: how each is made, and that it is closed."""

from __future__ import annotations

import functools
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

import chromadb
from chromadb.api import ClientAPI
from chromadb.config import Settings as ChromaSettings
from chromadb.errors import ChromaError

from embedding_assets.errors import DamagedError

RUNTIME_THREADS = "TOKIO_WORKER_THREADS"
_starting = threading.Lock()


@functools.cache
def _settings() -> ChromaSettings:
    """Read once: reading `.env` and the environment takes longer than opening a small directory."""
    return ChromaSettings(anonymized_telemetry=False)


@contextmanager
def _one_thread_a_client() -> Iterator[None]:
    """While the block goes on, a client gets a runtime with one thread, unless the environment says how many.

    With two, a client in several thousand never closes: its pool of SQLite connections counts idle ones wrongly if
    two threads meet (sqlx 0.8.6, its issue 3645), one of them counts on for ever, and closing waits for it with
    the interpreter's lock held. Chroma has no other setting for it.
    """
    with _starting:
        given = RUNTIME_THREADS in os.environ
        if not given:
            os.environ[RUNTIME_THREADS] = "1"
        try:
            yield
        finally:
            if not given:
                os.environ.pop(RUNTIME_THREADS, None)


@contextmanager
def opened_client(directory: Path) -> Iterator[ClientAPI]:
    """A client on a private directory, closed at the end."""
    try:
        with _one_thread_a_client():
            client: Any = chromadb.PersistentClient(str(directory), settings=copy(_settings()))
    except (ChromaError, ValueError, sqlite3.Error) as error:
        raise DamagedError(f"Chroma cannot open the snapshot: {error}") from error
    try:
        yield client
    finally:
        client.close()
