"""What `serve` answers, without HTTP: searches of several databases, their manifests, and what is not ready."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from embedding_assets.errors import EmbeddingAssetsError, NotFoundError
from embedding_assets.progress import Progress
from embedding_assets.serving.open_versions import OpenVersions
from embedding_assets.versions.manifest import VersionManifest

KEPT_QUERIES = 1000
"""Texts of queries whose vectors are kept: each is one request to OpenAI."""

Embed = Callable[[str, str, int | None], tuple[float, ...]]
"""The vector of a text by a model, with so many dimensions (None: the model's own)."""

FindPublished = Callable[[str], VersionManifest]
"""The manifest of a database's published version. NotFoundError if it has none."""


class SearchService:
    """Read-only search of published versions, for several threads at once."""

    def __init__(
        self,
        databases: Mapping[str, OpenVersions],
        find_published: FindPublished,
        embed: Embed,
        progress: Progress,
    ) -> None:
        self._databases = databases
        self._find_published = find_published
        self._embed = lru_cache(KEPT_QUERIES)(embed)
        self._progress = progress
        self._not_ready: dict[str, str] = dict.fromkeys(databases, "not looked at yet")
        self._ended = threading.Event()

    @property
    def databases(self) -> list[str]:
        """The names of the databases that are served."""
        return list(self._databases)

    @property
    def not_ready(self) -> dict[str, str]:
        """Why a database that has a version cannot be searched yet, by name; empty once all can be."""
        return dict(self._not_ready)

    def manifest(self, database: str) -> VersionManifest:
        """The published manifest. NotFoundError without one, or for a database that is not served."""
        self._versions(database)
        return self._find_published(database)

    def search(
        self, database: str, query: str, k: int, where: dict[str, Any] | None, version: str | None
    ) -> dict[str, Any]:
        """What `search --json` prints: the version, and the `k` records nearest to the text `query`.

        Raises NotFoundError for an unknown database or version, InputError for a filter that Chroma refuses,
        and what asking OpenAI for the query's vector raises.
        """
        with self._versions(database).borrowed(version) as opened:
            snapshot = opened.snapshot
            vector = self._embed(query, snapshot.model, snapshot.requested_dimensions)
            with opened.searching:
                hits = snapshot.search(vector, k=k, where=where)
            return {"version": snapshot.version, "hits": [asdict(hit) for hit in hits]}

    def take_up_new_versions(self) -> None:
        """Look at each database's pointer once, and open a version that is new; failures are reported."""
        for name, versions in self._databases.items():
            try:
                newest = self._find_published(name).version
                if newest != versions.published:
                    versions.take_up()
                    self._progress(f"{name}: version {versions.published} is served")
            except NotFoundError as error:
                if versions.published is not None:
                    self._progress(f"warning: {name}: {error}")
            except EmbeddingAssetsError as error:
                self._progress(f"warning: {name}: {error}")
                if versions.published is None:
                    self._not_ready[name] = str(error)
                    continue
            self._not_ready.pop(name, None)

    def follow(self, seconds: float) -> None:
        """Take up new versions, first at once and then every `seconds`, until `close`."""
        self.take_up_new_versions()
        while not self._ended.wait(seconds):
            self.take_up_new_versions()

    def close(self) -> None:
        """Stop following and close every version."""
        self._ended.set()
        for versions in self._databases.values():
            versions.close()

    def _versions(self, database: str) -> OpenVersions:
        if database not in self._databases:
            raise NotFoundError(f"no database {database!r} is served; there are {', '.join(self._databases)}")
        return self._databases[database]
