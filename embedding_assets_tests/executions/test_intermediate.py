"""Intermediate snapshots: every row of every delta, in either format, and nothing done twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedding_assets.databases import LINES
from embedding_assets.errors import ConservationError, DamagedError, MismatchError
from embedding_assets.executions.intermediate import (
    IntermediateMerger,
    IntermediateSnapshots,
    MergedIntermediate,
    open_intermediates,
)
from embedding_assets.executions.plan import Chunk, Intermediate
from embedding_assets.openai_batches.poll_result import PollResult
from embedding_assets.rows.snapshot_directory import Format
from embedding_assets_tests.deltas import at, put_delta, record, records
from embedding_assets_tests.executions.conftest import Workbench, execution
from embedding_assets_tests.recording_store import RecordingStore
from embedding_assets_tests.reference import Expected, reference_hash

ARROW_KEYS = {"manifest.json", "records.arrow"}
FORMATS: list[Format] = ["arrow", "chroma"]


def rows_of(bench: Workbench, key: str, folder: Path) -> dict[str, tuple[bytes, str, object, int]]:
    [source] = open_intermediates(bench.store, [Intermediate(intermediate_key=key)], folder)
    rows = [row for batch in source.batches() for row in batch.to_pylist()]
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: (row["hash"], row["batch_id"], row["precedence_at"], row["generation"]) for row in rows}


def chunk(*results: PollResult) -> Chunk:
    return Chunk(chunk_index=0, batch_id=execution(1), delta_results=results)


def from_(one: Expected, batch_id: str, hours: float = 0, generation: int = 0) -> tuple[bytes, str, object, int]:
    return reference_hash(one), batch_id, at(hours), generation


@pytest.mark.parametrize("of_delta", FORMATS)
@pytest.mark.parametrize("of_intermediate", FORMATS)
def test_a_chunk_holds_the_union_of_its_deltas(
    bench: Workbench, tmp_path: Path, of_delta: Format, of_intermediate: Format
) -> None:
    """Whatever formats meet: each id once, the later submission's row, with its provenance."""
    old = [record("a", 1, None, {"f": 0.1 + 0.2}), record("b", 2)]
    new = [record("b", 3, "newer", None), record("c", 4)]
    first = put_delta(bench.store, "first", old, form="arrow", precedence=at(0))
    second = put_delta(bench.store, "second", new, form=of_delta, precedence=at(1), generation=2)
    merged = IntermediateMerger(bench.store, LINES, of_intermediate).merge_chunk(chunk(second, first))
    assert (merged.sources, merged.rows_in, merged.count, merged.reused) == (2, 4, 3, False)
    assert merged.intermediate_key == f"intermediate/{execution(1)}/chunk-0/"
    if of_intermediate == "arrow":
        assert bench.keys("intermediate/") == {merged.intermediate_key + name for name in ARROW_KEYS}
    assert rows_of(bench, merged.intermediate_key, tmp_path / "read") == {
        "a": from_(old[0], "first"),
        "b": from_(new[0], "second", 1, 2),
        "c": from_(new[1], "second", 1, 2),
    }


def test_a_step_whose_output_is_there_does_nothing(bench: Workbench) -> None:
    """The same sources: no object is written again. Another source, or another format: made again."""
    merger = IntermediateMerger(bench.store, LINES, "arrow")
    first = put_delta(bench.store, "first", records("a", 3))
    made = merger.merge_chunk(chunk(first))
    recording = RecordingStore(bench.store)
    again = IntermediateMerger(recording, LINES, "arrow").merge_chunk(chunk(first))
    assert again.reused
    assert again.model_copy(update={"reused": False, "processing_time_seconds": 0}) == made.model_copy(
        update={"processing_time_seconds": 0}
    )
    assert recording.written == []
    second = put_delta(bench.store, "second", records("b", 2))
    more = merger.merge_chunk(chunk(first, second))
    assert (more.reused, more.count) == (False, 5)
    later = first.model_copy(update={"precedence_at": at(1)})
    assert not merger.merge_chunk(chunk(later, second)).reused
    assert not IntermediateMerger(bench.store, LINES, "chroma").merge_chunk(chunk(later, second)).reused


def test_a_broken_output_is_made_again(bench: Workbench, tmp_path: Path) -> None:
    """A file that is missing is no output that is there."""
    merger = IntermediateMerger(bench.store, LINES, "arrow")
    first = put_delta(bench.store, "first", records("a", 3))
    made = merger.merge_chunk(chunk(first))
    bench.store.delete([made.intermediate_key + "records.arrow"])
    assert not merger.merge_chunk(chunk(first)).reused
    assert len(rows_of(bench, made.intermediate_key, tmp_path / "read")) == 3


@pytest.mark.parametrize("told", [2, 4])
def test_a_delta_with_other_rows_than_polled_is_refused(bench: Workbench, told: int) -> None:
    """A poll result that says one number and a delta that has another: something was lost or invented."""
    delta = put_delta(bench.store, "first", records("a", 3)).model_copy(update={"embedding_count": told})
    merger = IntermediateMerger(bench.store, LINES, "arrow")
    with pytest.raises(ConservationError, match=f"batch first.*3 rows.*{told}"):
        merger.merge_chunk(chunk(delta))
    assert bench.keys("intermediate/") == set()


def test_a_damaged_delta_is_refused(bench: Workbench) -> None:
    """Its bytes are not what its manifest says."""
    delta = put_delta(bench.store, "first", records("a", 3))
    bench.store.put(f"{delta.delta_key}records.arrow", b"other bytes")
    with pytest.raises(DamagedError, match=r"records\.arrow"):
        IntermediateMerger(bench.store, LINES, "arrow").merge_chunk(chunk(delta))


def test_deltas_of_different_dimensions_do_not_merge(bench: Workbench) -> None:
    """One index has one length of vectors."""
    small = put_delta(bench.store, "small", records("a", 2))
    large = put_delta(bench.store, "large", [record("b", 1, dimensions=16)])
    with pytest.raises(MismatchError, match="16"):
        IntermediateMerger(bench.store, LINES, "arrow").merge_chunk(chunk(small, large))


def test_a_result_without_precedence_is_refused(bench: Workbench) -> None:
    """Nobody guesses which of two records would win."""
    delta = put_delta(bench.store, "first", records("a", 3)).model_copy(update={"precedence_at": None})
    with pytest.raises(DamagedError, match="precedence"):
        IntermediateMerger(bench.store, LINES, "arrow").merge_chunk(chunk(delta))


def three_chunks(bench: Workbench) -> list[MergedIntermediate]:
    merger = IntermediateMerger(bench.store, LINES, "arrow")
    made = []
    for number in range(3):
        rows = [*records(f"own{number}-", 2, seed=10 * number), record("shared", 100 + number)]
        delta = put_delta(bench.store, f"b{number}", rows, precedence=at(number))
        made.append(merger.merge_chunk(Chunk(chunk_index=number, batch_id=execution(1), delta_results=(delta,))))
    return made


@pytest.mark.parametrize("form", FORMATS)
def test_a_group_holds_the_union_of_its_parts(bench: Workbench, tmp_path: Path, form: Format) -> None:
    """Groups fold intermediates, which keep where each row came from."""
    made = three_chunks(bench)
    merger = IntermediateMerger(bench.store, LINES, form)
    parts = [Intermediate(intermediate_key=one.intermediate_key) for one in reversed(made)]
    group = merger.merge_group(execution(1), 7, parts)
    assert group.intermediate_key == f"intermediate/{execution(1)}-group-7/merged/"
    assert (group.sources, group.rows_in, group.count, group.reused) == (3, 9, 7, False)
    rows = rows_of(bench, group.intermediate_key, tmp_path / "read")
    assert rows["shared"] == from_(record("shared", 102), "b2", 2)
    assert rows["own0-1"][1] == "b0"
    assert len(rows) == 7
    assert merger.merge_group(execution(1), 7, parts).reused


def test_an_unfinished_intermediate_is_refused(bench: Workbench) -> None:
    """Files without a manifest: the step that wrote them did not end."""
    [made, *_] = three_chunks(bench)
    bench.store.delete([made.intermediate_key + "manifest.json"])
    part = Intermediate(intermediate_key=made.intermediate_key)
    with pytest.raises(DamagedError, match="unfinished"):
        IntermediateMerger(bench.store, LINES, "arrow").merge_group(execution(1), 0, [part])


def test_the_value_of_the_asset_is_plain_json(bench: Workbench) -> None:
    """It crosses steps and processes as JSON and comes back equal."""
    made = three_chunks(bench)
    value = IntermediateSnapshots(
        execution_id=execution(1),
        intermediates=tuple(Intermediate(intermediate_key=one.intermediate_key) for one in made),
        chunks=tuple(made),
    )
    assert IntermediateSnapshots.model_validate_json(value.model_dump_json()) == value
