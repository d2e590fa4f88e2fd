"""The replaced system's newest snapshot, imported. One more scene for faults."""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path
from typing import Any

from embedding_assets.databases import LINES
from embedding_assets.submission.parts import EmbeddingModel
from embedding_assets.upkeep.import_rows import ROWS_FILE, ForeignIndex, imported_rows, write_rows
from embedding_assets.upkeep.import_source import local_copy
from embedding_assets.versions.manifest import chain
from embedding_assets_tests.deltas import DIMENSIONS, MODEL, record
from embedding_assets_tests.faults.process import Planned
from embedding_assets_tests.faults.scene import BEFORE, Scene, completed
from embedding_assets_tests.foreign import foreign
from embedding_assets_tests.reference import Expected

OLDER = record("u0", 50, "what the replaced system had")
MOVED = [record(f"i{number}", 60 + number, f"imported {number}", {"tags": ["x", "y"]}) for number in range(3)]
SNAPSHOT = "old/snapshot"
ARCHIVE = f"{SNAPSHOT}/timestamped/20260101_000000/snapshot.tar.gz"


class ImportScene(Scene):
    """A published version; an index with one of its ids, which is older, and three new ones."""

    def begin(self) -> None:
        """The version, and the replaced system's archive and pointer."""
        self.world.plant("before", BEFORE)
        assert self.ingest(self.world.instance).failures == []
        store = self.world.services.store
        with tempfile.TemporaryDirectory() as name:
            directory = foreign(Path(name) / "index", [OLDER, *MOVED])
            with tarfile.open(Path(name) / "snapshot.tar.gz", "w:gz") as archive:
                archive.add(directory, arcname="chroma")
            store.upload_file(Path(name) / "snapshot.tar.gz", ARCHIVE)
        store.put(f"{SNAPSHOT}/latest-pointer.txt", b"20260101_000000")

    def act(self) -> bool:
        """What `snapshots import` does, twice if it did something.

        A version that is not on the shared root is for the next ingest.
        """
        unchanged = self._imported() or self._imported()
        return unchanged and (self._shown() == self.world.published().version or super().act())

    def _imported(self) -> bool:
        """Import; true if there was nothing to publish."""
        services = self.world.services
        with tempfile.TemporaryDirectory() as name:
            directory = local_copy(services.store.uri(SNAPSHOT), Path(name))
            reading = ForeignIndex(directory, None, EmbeddingModel(MODEL, DIMENSIONS))
            digest = write_rows(reading, Path(name) / ROWS_FILE, lambda line: None)
            rows = imported_rows(reading, Path(name) / ROWS_FILE, digest, None)
            done = services.importer(LINES, lambda line: None).run(rows)
        return not (done.added or done.updated)

    def expected(self) -> dict[str, Expected]:
        """What was submitted stays."""
        return {one.id: one for one in [*BEFORE, *MOVED]}

    def expected_rows(self) -> dict[str, dict[str, Any]]:
        """An import has no row."""
        return {"before": completed(4)}

    def check(self, planned: Planned | None = None) -> None:
        """Also: however often it is imported, one version came of it."""
        super().check(planned)
        versions = chain(self.world.services.store, LINES, self.world.published())
        assert [one.execution_id.startswith("import-") for one in versions] == [True, False]
