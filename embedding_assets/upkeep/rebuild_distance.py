"""The published records, rebuilt under the distance that the database is configured for by now.

Nothing is asked of OpenAI: the very same vectors, so the content digest stays. Also of use if nothing else
changed: what deletions left behind in the graph is gone afterwards.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from embedding_assets.errors import ConservationError, DamagedVersionError, InputError
from embedding_assets.rows.record_index import read_index
from embedding_assets.upkeep.inspection import problems_of
from embedding_assets.upkeep.rebuild_publish import Rebuild, RebuiltRecords
from embedding_assets.versions.manifest import INDEX_FILE, VersionManifest
from embedding_assets.versions.published_rows import published_rows


@dataclass(frozen=True)
class DistanceRebuild(Rebuild):
    """Rebuilds the published version of one database from its own records."""

    def run(self, purpose: str) -> VersionManifest:
        """Publish it again. InputError if nothing is published, DamagedVersionError if it is not whole."""
        with self.publisher.publication_lock(purpose) as held:
            if held.pointer is None:
                raise InputError(f"{self.database.name} has no published version to rebuild")
            base = held.pointer.manifest
            with tempfile.TemporaryDirectory(prefix="embedding-assets-published-") as name:
                directory = Path(name) / "version"
                wrong = problems_of(self.store, base, directory, everything=False)
                if wrong:
                    raise DamagedVersionError(f"version {base.version} cannot be rebuilt: {wrong[0]}")
                held.lock.check()
                index = read_index(directory / INDEX_FILE)
                sources = published_rows(directory, base, index, Path(name) / "rows.arrow")
                rebuilt = RebuiltRecords(sources, index, base.model)
                manifest = self.publish_rebuilt(rebuilt, held.pointer, purpose, held.lock)
        if manifest.content_digest != base.content_digest:
            raise ConservationError(f"rebuilding {base.version} changed its content")
        return manifest
