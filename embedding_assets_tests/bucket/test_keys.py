"""The keys of objects."""

from __future__ import annotations

from embedding_assets.bucket import keys

EXECUTION = "20260102T120000Z-0123abcd"


def test_keys() -> None:
    """Other programs read these keys."""
    assert keys.manifest_key(EXECUTION) == f"manifests/{EXECUTION}/batches.json"
    assert keys.poll_results_key(EXECUTION) == f"poll_results/{EXECUTION}/poll_results.json"
    assert keys.chunks_key(EXECUTION) == f"chunks/{EXECUTION}/chunks.json"
    assert keys.groups_key(EXECUTION) == f"chunk_groups/{EXECUTION}/groups.json"
    assert keys.chunk_prefix(EXECUTION, 3) == f"intermediate/{EXECUTION}/chunk-3/"
    assert keys.group_prefix(EXECUTION, 2) == f"intermediate/{EXECUTION}-group-2/merged/"
