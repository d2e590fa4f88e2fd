"""The keys of objects."""

from __future__ import annotations

from embedding_assets.bucket import keys
from embedding_assets.databases import LINES

EXECUTION = "20260102T120000Z-0123abcd"


def test_keys() -> None:
    """Other programs read these keys."""
    assert keys.manifest_key(EXECUTION) == f"manifests/{EXECUTION}/batches.json"
    assert keys.poll_results_key(EXECUTION) == f"poll_results/{EXECUTION}/poll_results.json"
    assert keys.chunks_key(EXECUTION) == f"chunks/{EXECUTION}/chunks.json"
    assert keys.groups_key(EXECUTION) == f"chunk_groups/{EXECUTION}/groups.json"
    assert keys.chunk_prefix(EXECUTION, 3) == f"intermediate/{EXECUTION}/chunk-3/"
    assert keys.group_prefix(EXECUTION, 2) == f"intermediate/{EXECUTION}-group-2/merged/"


def test_what_is_listed_is_found_by_its_key() -> None:
    """gc lists prefixes and asks what each object belongs to: that must be what made the key."""
    delta = keys.delta_key(LINES, "delta-1")
    assert delta.startswith(keys.delta_prefix(LINES))
    assert keys.delta_of(LINES, f"{delta}records.arrow") == delta
    assert keys.delta_of(LINES, f"{keys.delta_prefix(LINES)}notes.txt") is None
    for prefix in (keys.chunk_prefix(EXECUTION, 3), keys.group_prefix(EXECUTION, 2)):
        assert prefix.startswith(keys.INTERMEDIATE_PREFIX)
        assert keys.execution_of_intermediate(f"{prefix}records.arrow") == EXECUTION
    assert keys.execution_of_intermediate(keys.intermediate_snapshots_key(EXECUTION)) is None
