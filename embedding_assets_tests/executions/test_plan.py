"""Planning the hierarchy: nothing is left out, and every key is the contract's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_assets.executions.plan import ExecutionManifest, Intermediate, split_chunks, split_groups
from embedding_assets_tests.deltas import poll_result

EXECUTION = "20260102T120000Z-0123abcd"


@given(polled=st.lists(st.booleans(), max_size=35), size=st.integers(2, 12))
def test_every_delta_is_in_exactly_one_chunk(polled: list[bool], size: int) -> None:
    """In their order, of the asked size but for the last; batches without a delta are in none."""
    results = [poll_result(f"b{n}", 1, f"k/{n}/" if there else None) for n, there in enumerate(polled)]
    chunks = split_chunks(EXECUTION, results, size)
    assert [result for chunk in chunks for result in chunk.delta_results] == [r for r in results if r.has_delta]
    assert [chunk.chunk_index for chunk in chunks] == list(range(len(chunks)))
    assert {chunk.batch_id for chunk in chunks} <= {EXECUTION}
    assert all(len(chunk.delta_results) == size for chunk in chunks[:-1])


@pytest.mark.parametrize(
    ("count", "groups"), [(0, []), (4, []), (5, [5]), (10, [10]), (11, [10, 1]), (30, [10] * 3)]
)
def test_groups_begin_above_the_threshold(count: int, groups: list[int]) -> None:
    """Up to four chunks go to the final merge as they are."""
    parts = [Intermediate(intermediate_key=f"k/{number}/") for number in range(count)]
    split = split_groups(parts, group_size=10, threshold=4)
    assert [len(group) for group in split] == groups
    assert [part for group in split for part in group] == (parts if groups else [])


def test_a_manifest_of_another_program_is_read() -> None:
    """Fields that are not ours are no error."""
    manifest = ExecutionManifest.model_validate(
        {
            "execution_id": EXECUTION,
            "database": "lines",
            "created_at": "2026-01-02T12:00:00Z",
            "total_batches": 1,
            "batches": [{"index": 0, "batch_id": "b", "openai_batch_id": "o"}],
            "more": True,
        }
    )
    assert manifest.batches[0].batch_id == "b"
