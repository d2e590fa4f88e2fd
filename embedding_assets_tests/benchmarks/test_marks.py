"""Marks are held or missed as their figures say, and none is left out."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.marks import Mark, marks
from benchmarks.quick import below

MERGE: dict[str, Any] = {
    "count": 27_000,
    "ratios": {
        "replaced_wall": 14.1,
        "replaced_cpu": 3.4,
        "floor_cpu": 0.66,
        "graph_floor_cpu": 0.25,
        "script_wall": 4.9,
        "reingest_wall": 0.1,
    },
    "runs": {"ours": [{"recall": 0.99, "mixtures": 0.97}], "ours_chroma": [{"recall": 0.98, "mixtures": 0.98}]},
}


def held(figures: dict[str, Any]) -> list[bool]:
    return [mark.holds for mark in marks(figures)]


@pytest.mark.parametrize(
    ("figure", "sign", "holds"), [(2, "≥", True), (1.9, "≥", False), (2, "≤", True), (2.1, "≤", False)]
)
def test_a_mark_is_held_up_to_its_bound(figure: float, sign: str, holds: bool) -> None:
    assert Mark("of two", figure, sign, 2).holds is holds


def test_a_large_merge_has_the_marks_of_the_graph_and_of_the_script() -> None:
    figures = {"merges": {"results": [MERGE]}}
    assert held(figures) == [True, False, True, False, True, True, False, False]


def test_a_small_merge_has_marks_of_its_own() -> None:
    small = {**MERGE, "count": 9_000}
    found = list(marks({"merges": {"results": [small]}}))
    assert [mark.bound for mark in found[:3]] == [3.5, 3.5, 2.5]
    assert [mark.holds for mark in found] == [True, False, True, True, True, False, False]


def test_adding_is_measured_by_the_better_way_and_bytes_where_vectors_are_apart() -> None:
    whole = {"base": 100_000, "layout": "whole", "base_mb": 700, "copy": {"wall": 2.0}}
    whole |= {"cached": {"wall": 5.1, "mb_up": 700}, "chroma": {"wall": 5.0, "mb_up": 700}}
    split = {**whole, "layout": "split", "cached": {"wall": 6.0, "mb_up": 106}, "chroma": {"wall": 5.1}}
    assert held({"incremental": {"results": [whole]}}) == [True]
    assert held({"incremental-split": {"results": [split]}}) == [False, False]


def test_orchestration_has_its_mark_at_many_batches() -> None:
    cell = {"executor": "in_process", "overhead": 20.0, "overhead_of_servers": 15.0}
    others = [{**cell, "batches": 30}, {**cell, "batches": 300, "executor": "multiprocess"}]
    assert held({"orchestration": [*others, {**cell, "batches": 300}]}) == [True]


def test_polling_has_its_mark_for_each_encoding() -> None:
    rates = {"ask": {"wall_seconds": 2.0}, "poll_into_folder": {"wall_seconds": 3.6}}
    slow = {**rates, "poll_into_folder": {"wall_seconds": 3.7}}
    asked = {"batches": 300, "lines": 90, "encodings": ["float", "base64"]}
    assert held({"polling": {"asked": asked, "float": rates, "base64": slow}}) == [True, False]


def test_the_quick_benchmark_allows_a_fifth_and_no_more() -> None:
    ratios = {"replaced_wall": 2.81, "replaced_cpu": 2.9, "floor_cpu": 3.0, "reingest_wall": 0.12}
    assert below(ratios) == []
    assert below({**ratios, "replaced_wall": 2.7}) == ["replaced_wall 2.7 < 3.5"]
    assert below({**ratios, "floor_cpu": 3.1, "reingest_wall": 0.13}) == [
        "floor_cpu 3.1 > 2.5",
        "reingest_wall 0.13 > 0.1",
    ]
