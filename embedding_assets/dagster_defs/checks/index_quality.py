"""Whether searches in the published version find what is nearest, and whether its graph is of live records."""

from __future__ import annotations

from embedding_assets.bucket.store import Store
from embedding_assets.dagster_defs.checks.finding import Finding
from embedding_assets.databases import Database
from embedding_assets.versions.manifest import read_pointer

LEAST_RECALL = 0.9
"""Below it users notice: one of ten nearest records is missing."""


def index_quality(store: Store, database: Database, most_nodes: float) -> Finding:
    """By what the manifest of the published version says: measured when it was built."""
    pointer = read_pointer(store, database)
    if pointer is None:
        return Finding(True, "nothing was published yet")
    manifest = pointer.manifest
    figures: dict[str, int | float | str] = {
        "version": manifest.version,
        "total_embeddings": manifest.total_embeddings,
    }
    problems = []
    if manifest.nodes is not None:
        figures["nodes"] = manifest.nodes
        if manifest.total_embeddings:
            figures["nodes_per_record"] = round(manifest.nodes / manifest.total_embeddings, 3)
        if manifest.nodes > most_nodes * manifest.total_embeddings:
            problems.append(
                f"its graph has {manifest.nodes} nodes for {manifest.total_embeddings} records; "
                f"`snapshots rebuild {database.name}` removes those of deleted records"
            )
    if manifest.recall is not None:
        figures["recall"] = round(manifest.recall, 3)
        if manifest.recall < LEAST_RECALL:
            problems.append(f"searches find only {manifest.recall:.3f} of the nearest records")
    if problems:
        return Finding(False, f"version {manifest.version}: {'; '.join(problems)}", figures)
    known = (
        "not measured"
        if manifest.recall is None
        else f"searches find {manifest.recall:.3f} of the nearest records"
    )
    return Finding(True, f"version {manifest.version}: {known}", figures)
