"""OpenAI Batch API embeddings, turned into ChromaDB snapshots on S3 that an application can trust.

What is exported is imported when it is first used: reading needs no Dagster, and importing reads no environment.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embedding_assets.changes import RecordChange, changes_since
    from embedding_assets.component import EmbeddingDatabase
    from embedding_assets.databases import Database
    from embedding_assets.errors import EmbeddingAssetsError
    from embedding_assets.factory import build_definitions
    from embedding_assets.settings import Settings
    from embedding_assets.snapshot import Snapshot, open_snapshot

__all__ = [
    "Database",
    "EmbeddingAssetsError",
    "EmbeddingDatabase",
    "RecordChange",
    "Settings",
    "Snapshot",
    "__version__",
    "build_definitions",
    "changes_since",
    "open_snapshot",
]

_HOMES = {
    "Database": "databases",
    "EmbeddingAssetsError": "errors",
    "EmbeddingDatabase": "component",
    "RecordChange": "changes",
    "Settings": "settings",
    "Snapshot": "snapshot",
    "build_definitions": "factory",
    "changes_since": "changes",
    "open_snapshot": "snapshot",
}

_WITH_DAGSTER = ("EmbeddingDatabase", "build_definitions")

try:
    __version__ = version("embedding-assets")
except PackageNotFoundError:
    __version__ = "0+unknown"


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _WITH_DAGSTER:
        import_module(f"{__name__}.extras").require_extra("pipeline", f"{__name__}.{name}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
