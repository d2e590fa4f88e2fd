"""Marks are held or missed as their figures say, and none is left out."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.marks import Mark, marks
from benchmarks.quick import below

MERGE: dict[str, Any] = {
    "count": 27_000,
    "writer": "direct",
    "ratios": {
        "replaced_wall": 6.1,
        "replaced_cpu": 5.9,
        "floor_cpu": 1.4,
        "reingest_wall": 0.1,
        "chroma_replaced_wall": 3.5,
        "chroma_replaced_cpu": 3.4,
        "chroma_floor_cpu": 2.6,
    },
    "runs": {"ours": [{"recall": 0.99}], "ours_chroma": [{"recall": 0.98}]},
}


def held(told: dict[str, Any]) -> list[bool]:
    return [mark.holds for mark in marks(told)]


@pytest.mark.parametrize(
    ("figure", "sign", "holds"), [(2, "≥", True), (1.9, "≥", False), (2, "≤", True), (2.1, "≤", False)]
)
def test_a_mark_is_held_up_to_its_bound(figure: float, sign: str, holds: bool) -> None:
    assert Mark("of two", figure, sign, 2).holds is holds


def test_a_merge_has_its_marks_written_directly_and_by_chroma() -> None:
    told = {"merges": {"results": [MERGE]}}
    assert held(told) == [True, False, True, True, False, False, True, True, False]


def test_a_small_merge_has_the_marks_of_chromas_own_writing() -> None:
    small = {**MERGE, "count": 9_000}
    bounds = [mark.bound for mark in marks({"merges": {"results": [small]}})]
    assert bounds[:3] == [3.5, 3.5, 2.5]


def test_orchestration_has_its_marks_at_many_batches() -> None:
    cell = {"executor": "in_process", "overhead": 20.0, "overhead_of_servers": 11.0}
    assert held({"orchestration": [{**cell, "batches": 30}, {**cell, "batches": 300}]}) == [False, True]


def test_polling_has_its_mark_for_each_encoding_and_bucket() -> None:
    rates = {"poll": {"ratio_wall": 0.7}, "poll_into_folder": {"ratio_wall": 0.8}}
    asked = {"batches": 300, "lines": 90, "encodings": ["float", "base64"]}
    assert held({"polling": {"asked": asked, "float": rates, "base64": rates}}) == [False, True, False, True]


def test_the_quick_benchmark_allows_a_fifth_and_no_more() -> None:
    ratios = {"replaced_wall": 2.81, "replaced_cpu": 2.9, "floor_cpu": 3.0, "reingest_wall": 0.12}
    assert below(ratios) == []
    assert below({**ratios, "replaced_wall": 2.7}) == ["replaced_wall 2.7 < 3.5"]
    assert below({**ratios, "floor_cpu": 3.1, "reingest_wall": 0.13}) == [
        "floor_cpu 3.1 > 2.5",
        "reingest_wall 0.13 > 0.1",
    ]
