"""Folding: each id once, the right one, whatever the order and the grouping of the sources."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embedding_assets.chroma.row_source import RowSource
from embedding_assets.errors import ConservationError, MismatchError
from embedding_assets.executions.fold import fold, keys_of, same_dimensions, winners
from embedding_assets.rows.arrow import ROWS_AT_ONCE, RowFile
from embedding_assets_tests.deltas import at, record, records, source
from embedding_assets_tests.reference import Expected, reference_hash


@dataclass(frozen=True)
class Part:
    """One source: a batch, opened for the how-many-th time, with these ids. Its seed tells its rows apart."""

    batch_id: str
    hours: int
    generation: int
    ids: tuple[str, ...]
    seed: int

    @property
    def precedence(self) -> tuple[int, str, int]:
        return (self.hours, self.batch_id, self.generation)

    def rows(self) -> list[Expected]:
        return [record(name, self.seed, f"from {self.seed}") for name in self.ids]


IDS = st.lists(st.sampled_from("abcdef\U0001f600\uff5e"), min_size=1, max_size=6, unique=True).map(tuple)
BATCHES = st.tuples(st.sampled_from(["b1", "b10", "b2", "B9"]), st.integers(0, 2), st.integers(0, 2))


@st.composite
def parts(draw: st.DrawFn) -> list[Part]:
    """Some sources, no two of which have the same precedence in everything."""
    batches = draw(st.lists(BATCHES, min_size=1, max_size=6, unique=True))
    return [Part(*batch, draw(IDS), seed) for seed, batch in enumerate(batches)]


def opened(folder: Path, several: list[Part]) -> list[RowSource]:
    return [
        source(folder / f"{part.seed}.arrow", part.rows(), part.batch_id, at(part.hours), part.generation)
        for part in several
    ]


def rows_at(path: Path) -> dict[str, bytes]:
    rows = [row for batch in RowFile(path).batches() for row in batch.to_pylist()]
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: row["hash"] for row in rows}


def expected(several: list[Part]) -> dict[str, bytes]:
    """By id, the hash of the row with the greatest (precedence, batch id, generation)."""
    found: dict[str, Part] = {}
    for part in sorted(several, key=lambda part: part.precedence):
        found |= dict.fromkeys(part.ids, part)
    return {name: reference_hash(record(name, part.seed, f"from {part.seed}")) for name, part in found.items()}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(several=parts(), order=st.randoms(use_true_random=False))
def test_ids_out_are_the_union_and_the_latest_wins_in_any_order(several: list[Part], order: st.DataObject) -> None:
    """Conservation and order independence, for any mixture of batches and generations."""
    shuffled = list(several)
    order.shuffle(shuffled)  # type: ignore[attr-defined]  # a random.Random, which hypothesis types as its own
    with tempfile.TemporaryDirectory() as name:
        count = fold(opened(Path(name), shuffled), Path(name) / "out.arrow")
        out = rows_at(Path(name) / "out.arrow")
    assert out == expected(several)
    assert count == len(set().union(*(part.ids for part in several)))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(several=parts(), cut=st.integers(0, 5))
def test_folding_in_two_levels_gives_the_same(several: list[Part], cut: int) -> None:
    """Chunks folded first and then together give what one fold gives: the hierarchy changes nothing."""
    groups = [group for group in (several[:cut], several[cut:]) if group]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        middle = []
        for number, group in enumerate(groups):
            path = folder / f"middle-{number}.arrow"
            fold(opened(folder, group), path)
            middle.append(RowSource(RowFile(path), 8, None))
        fold(middle, folder / "out.arrow")
        out = rows_at(folder / "out.arrow")
    assert out == expected(several)


def test_rows_keep_their_provenance(tmp_path: Path) -> None:
    """A folded row still tells which batch it came from: later merges decide by it."""
    old = source(tmp_path / "old", [record("a", 1), record("b", 2)], "old", at(1), 0)
    new = source(tmp_path / "new", [record("b", 3)], "new", at(2), 5)
    fold([new, old], tmp_path / "out.arrow")
    rows = [row for batch in RowFile(tmp_path / "out.arrow").batches() for row in batch.to_pylist()]
    told = {row["id"]: (row["batch_id"], row["precedence_at"], row["generation"]) for row in rows}
    assert told == {"a": ("old", at(1), 0), "b": ("new", at(2), 5)}


def test_of_one_batchs_rows_the_later_source_wins(tmp_path: Path) -> None:
    """Equal in everything: the later source, so that the outcome is never left to chance."""
    first = source(tmp_path / "1", [record("a", 1)])
    second = source(tmp_path / "2", [record("a", 2)])
    fold([first, second], tmp_path / "out.arrow")
    assert rows_at(tmp_path / "out.arrow") == {"a": reference_hash(record("a", 2))}


def test_many_rows_pass_through(tmp_path: Path) -> None:
    """More than one record batch a source; every second id twice."""
    first = records("r", 2 * ROWS_AT_ONCE + 5)
    second = [record(one.id, 90_000 + number) for number, one in enumerate(first[::2])]
    sources = [source(tmp_path / "1", first, "b1", at(1)), source(tmp_path / "2", second, "b2", at(2))]
    assert fold(sources, tmp_path / "out.arrow") == len(first)
    newest = {one.id: one for one in [*first, *second]}
    assert rows_at(tmp_path / "out.arrow") == {name: reference_hash(one) for name, one in newest.items()}


def test_winners_say_which_row_counts(tmp_path: Path) -> None:
    """A mask over all rows in their order, exactly one for each id."""
    sources = [
        source(tmp_path / "1", [record("a"), record("b")], "b1", at(2)),
        source(tmp_path / "2", [record("b"), record("c")], "b2", at(1)),
    ]
    assert winners(keys_of(sources)).tolist() == [True, True, False, True]
    assert winners(keys_of([])).tolist() == []


def test_vectors_of_different_lengths_are_refused(tmp_path: Path) -> None:
    """One index has one length of vectors."""
    sources = [source(tmp_path / "1", [record("a")]), source(tmp_path / "2", [record("b", dimensions=16)])]
    with pytest.raises(MismatchError, match=r"8.*16"):
        fold(sources, tmp_path / "out.arrow")
    with pytest.raises(MismatchError):
        same_dimensions(sources)


class ShrinkingSource:
    """A source that gives fewer rows at the second reading."""

    def __init__(self, inner: RowSource) -> None:
        self._inner = inner
        self._reads = 0
        self.dimensions = inner.dimensions

    def batches(self) -> object:
        self._reads += 1
        batches = list(self._inner.batches())
        return iter(batches if self._reads == 1 else [batch.slice(1) for batch in batches])


def test_a_row_that_gets_lost_stops_the_fold(tmp_path: Path) -> None:
    """Failure of record: 62,455 embeddings were expected, 13,223 merged, and nobody counted."""
    shrinking: list[RowSource] = [ShrinkingSource(source(tmp_path / "1", records("r", 3)))]  # type: ignore[list-item]
    with pytest.raises(ConservationError, match="3 ids gave 2 rows"):
        fold(shrinking, tmp_path / "out.arrow")
