"""Comparing with the published index: what is added, updated, left; and who wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from embedding_assets.executions.changes import Changes, compare
from embedding_assets.executions.fold import KEY
from embedding_assets.rows.arrow import row_schema
from embedding_assets.rows.record_index import CARRIED, SCHEMA, alive, empty_index, sort_index
from embedding_assets_tests.deltas import NOON, at

INCOMING = pa.schema([row_schema(1).field(name) for name in (*KEY, *CARRIED)])


@dataclass(frozen=True)
class Row:
    """One row of the index or of what comes in; `content` 0 is a tombstone."""

    id: str
    content: int
    batch: str = "b"
    when: datetime = NOON
    generation: int = 0

    def as_row(self) -> dict[str, object]:
        return {
            "id": self.id,
            "hash": bytes([self.content]) * 32 if self.content else None,
            "batch_id": self.batch,
            "precedence_at": self.when,
            "generation": self.generation,
            "input_sha256": f"input {self.content}",
            "metadata": None,
        }


def incoming(rows: Sequence[Row]) -> pa.Table:
    schema = pa.schema([field.with_nullable(True) for field in INCOMING])
    table = pa.Table.from_pylist([row.as_row() for row in rows], schema=schema)
    return table.append_column("ordinal", pa.array(np.arange(len(rows), dtype=np.int64)))


def base(rows: Sequence[Row]) -> pa.Table:
    return sort_index(pa.Table.from_pylist([row.as_row() for row in rows], schema=SCHEMA)).combine_chunks()


def contents(table: pa.Table) -> dict[str, int]:
    """By id, the content of every published record."""
    published = alive(table)
    return {
        name: value[0]
        for name, value in zip(
            published.column("id").to_pylist(), published.column("hash").to_pylist(), strict=True
        )
    }


def told(changes: Changes) -> tuple[list[bool], list[bool], int]:
    return changes.add.tolist(), changes.update.tolist(), changes.unchanged


def test_onto_nothing_everything_is_added() -> None:
    """The first version: each distinct id once."""
    changes = compare(incoming([Row("b", 1), Row("a", 2)]), empty_index())
    assert told(changes) == ([True, True], [False, False], 0)
    assert changes.index.column("id").to_pylist() == ["a", "b"]
    assert contents(changes.index) == {"a": 2, "b": 1}
    assert changes.changed
    assert changes.index_changed


def test_added_updated_unchanged() -> None:
    """The three of them, and what stays."""
    published = base([Row("same", 1), Row("newer", 2), Row("stays", 3)])
    rows = [Row("same", 1), Row("newer", 4, "c", at(1)), Row("fresh", 5)]
    changes = compare(incoming(rows), published)
    assert told(changes) == ([False, False, True], [False, True, False], 1)
    assert (changes.added, changes.updated) == (1, 1)
    assert contents(changes.index) == {"same": 1, "newer": 4, "stays": 3, "fresh": 5}


def test_an_equal_record_of_a_later_batch_updates_the_index_alone() -> None:
    """Same content, later submission: Chroma is not touched, but a batch in between will not win any more."""
    changes = compare(incoming([Row("a", 1, "c", at(2))]), base([Row("a", 1, "b", at(0))]))
    assert told(changes) == ([False], [False], 1)
    assert not changes.changed
    assert changes.index_changed
    between = compare(incoming([Row("a", 9, "d", at(1))]), changes.index)
    assert told(between) == ([False], [False], 1)
    assert contents(between.index) == {"a": 1}


def test_the_very_same_row_changes_nothing() -> None:
    """Merging the same batch again: not even the index is another one."""
    rows = [Row("a", 1), Row("b", 2)]
    changes = compare(incoming(rows), base(rows))
    assert (changes.changed, changes.index_changed, changes.unchanged) == (False, False, 2)


def test_an_old_batch_that_arrives_late_does_not_win() -> None:
    """A later submission wins whatever the order of ingestion."""
    changes = compare(
        incoming([Row("a", 1, "z", at(0)), Row("n", 2, "z", at(0))]), base([Row("a", 9, "b", at(1))])
    )
    assert told(changes) == ([False, True], [False, False], 1)
    assert contents(changes.index) == {"a": 9, "n": 2}


@pytest.mark.parametrize(("batch", "wins"), [("b1", False), ("b2", True), ("b3", True)])
def test_ties_in_time_go_by_the_batch_id(batch: str, wins: bool) -> None:
    """Submitted at the same instant: the greater id, and the same batch again replaces itself."""
    changes = compare(incoming([Row("a", 5, batch)]), base([Row("a", 1, "b2")]))
    assert contents(changes.index) == {"a": 5 if wins else 1}
    assert changes.updated == int(wins)


def test_a_stale_result_yields_to_the_same_batch() -> None:
    """The batch was opened again since it was polled, and that newer poll is published already."""
    published = base([Row("a", 1, "b"), Row("older", 2, "a", at(-1))])
    rows = [Row("a", 5, "b"), Row("older", 6, "b"), Row("fresh", 7, "b")]
    changes = compare(incoming(rows), published, stale={"b"})
    assert contents(changes.index) == {"a": 1, "older": 6, "fresh": 7}
    assert told(changes) == ([False, False, True], [False, True, False], 1)


def test_a_tombstone_counts_as_a_submission() -> None:
    """A deleted record comes back by a later submission only, and then it is an added one."""
    published = base([Row("a", 0, "deleted", at(1))])
    early = compare(incoming([Row("a", 5, "b", at(0))]), published)
    assert (early.added, early.updated, early.unchanged) == (0, 0, 1)
    assert contents(early.index) == {}
    late = compare(incoming([Row("a", 5, "b", at(2))]), published)
    assert (late.added, late.updated, late.unchanged) == (1, 0, 0)
    assert contents(late.index) == {"a": 5}


def test_of_incoming_rows_only_the_winner_counts() -> None:
    """One id in two intermediates: the later one is added, the masks name its row."""
    rows = [Row("a", 1, "b", at(0)), Row("a", 2, "c", at(1)), Row("a", 3, "c", at(1), generation=1)]
    changes = compare(incoming(rows), empty_index())
    assert told(changes) == ([False, False, True], [False, False, False], 0)
    assert contents(changes.index) == {"a": 3}


ROWS = st.lists(
    st.builds(
        Row,
        id=st.sampled_from("abcd\U0001f600\uff5e"),
        content=st.integers(1, 9),
        batch=st.sampled_from(["b1", "b10", "b2"]),
        when=st.integers(0, 2).map(at),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda row: (row.id, row.batch, row.when),
)


@hypothesis_settings(max_examples=150, deadline=None)
@given(rows=ROWS, cuts=st.lists(st.integers(0, 12), max_size=3))
def test_however_rows_arrive_the_same_is_published(rows: list[Row], cuts: list[int]) -> None:
    """Any split of the same rows into executions ends at the same index; the counts add up each time."""
    marks = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    index = empty_index()
    for start, end in pairwise(marks):
        part = rows[start:end]
        if not part:
            continue
        before = alive(index).num_rows
        changes = compare(incoming(part), index)
        assert changes.added + changes.updated + changes.unchanged == len({row.id for row in part})
        assert alive(changes.index).num_rows == before + changes.added
        index = changes.index
    latest = {row.id: row for row in sorted(rows, key=lambda row: (row.when, row.batch))}
    assert contents(index) == {name: row.content for name, row in latest.items()}
    assert index.column("id").to_pylist() == sorted(latest, key=lambda name: name.encode())
