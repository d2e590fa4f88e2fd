"""The marks of this project, and whether the results of one run of all benchmarks hold them."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

FASTER = 3.5
"""Times that a small merge is faster than the replaced design, by both clocks."""
FLOORS = 2.5
"""Floors of processor time that a small merge takes at most."""
AGAIN = 0.1
"""Of the first time, what merging the same once more takes at most."""
RECALL = 0.98
"""Of the ten nearest records, what searches find at least."""

LARGE = 27_000
FASTER_LARGE = 14.0
FLOORS_LARGE = 0.65
FLOORS_OF_THE_GRAPH = 0.25
SCRIPTS = 5.0
"""The same for a large merge, its graph alone, and times that it is faster than a user's script."""

MANY = 300
"""Batches that orchestration has its mark at."""
ORCHESTRATION = 5.0
"""Seconds that it takes without the processors of the emulated services."""
COPIES = 2.5
"""Times that adding a thousand records takes of copying and hashing the base's files once."""
MANY_RECORDS = 100_000
PART_UP = 0.15
"""Of the bytes of a version that is stored apart, what adding a thousand records to so many uploads at most."""
CLIENTS = 1.8
"""Times that polling takes of OpenAI's SDK alone, asking and downloading."""

SIGNS = {"≥": operator.ge, "≤": operator.le}


@dataclass(frozen=True)
class Mark:
    """One figure and what it is to be."""

    name: str
    figure: float
    sign: str
    bound: float

    @property
    def holds(self) -> bool:
        """Whether the figure is as it is to be."""
        return bool(SIGNS[self.sign](self.figure, self.bound))


def marks(figures: Mapping[str, Any]) -> Iterator[Mark]:
    """Every mark of the results that are there, by the name of their file."""
    for result in figures.get("merges", {}).get("results", ()):
        yield from merging(result)
    for file in ("incremental", "incremental-split"):
        for result in figures.get(file, {}).get("results", ()):
            yield from adding(result)
    for file in ("polling", "polling-large"):
        if file in figures:
            yield from polling(figures[file])
    yield from orchestration(figures.get("orchestration", ()))


def merging(result: Mapping[str, Any]) -> Iterator[Mark]:
    """Of the merge of one size."""
    size, ratios, large = f"{result['count']:,}", result["ratios"], result["count"] == LARGE
    faster = f"{size}: times faster than the replaced design"
    yield Mark(f"{faster}, wall", ratios["replaced_wall"], "≥", FASTER_LARGE if large else FASTER)
    if not large:
        yield Mark(f"{faster}, CPU", ratios["replaced_cpu"], "≥", FASTER)
    yield Mark(f"{size}: floors of CPU", ratios["floor_cpu"], "≤", FLOORS_LARGE if large else FLOORS)
    if large:
        name = f"{size}: floors of CPU, the graph alone"
        yield Mark(name, ratios["graph_floor_cpu"], "≤", FLOORS_OF_THE_GRAPH)
        yield Mark(f"{size}: times faster than a user's script, wall", ratios["script_wall"], "≥", SCRIPTS)
    yield Mark(f"{size}: the same once more, of the first time", ratios["reingest_wall"], "≤", AGAIN)
    ours, chroma = (result["runs"][way][0] for way in ("ours", "ours_chroma"))
    yield Mark(f"{size}: recall@10", ours["recall"], "≥", RECALL)
    yield Mark(f"{size}: recall@10 of mixtures", ours["mixtures"], "≥", RECALL)
    yield Mark(f"{size}: the same, more than by Chroma", ours["mixtures"] - chroma["mixtures"], "≥", 0)


def adding(result: Mapping[str, Any]) -> Iterator[Mark]:
    """Of adding to a base."""
    name = f"+1,000 on {result['base']:,}, {result['layout']}"
    copies = min(result[way]["wall"] for way in ("cached", "chroma")) / result["copy"]["wall"]
    yield Mark(f"{name}: copies of the base, wall", round(copies, 2), "≤", COPIES)
    if result["layout"] == "split" and result["base"] == MANY_RECORDS:
        part = result["cached"]["mb_up"] / result["base_mb"]
        yield Mark(f"{name}: bytes up, of the version", round(part, 3), "≤", PART_UP)


def polling(figures: Mapping[str, Any]) -> Iterator[Mark]:
    """Of polling into a folder, against OpenAI's SDK alone."""
    asked = figures["asked"]
    for encoding in asked["encodings"]:
        one = figures[encoding]
        name = f"polling {asked['batches']} × {asked['lines']:,}, {encoding}: times OpenAI's SDK alone"
        times = one["poll_into_folder"]["wall_seconds"] / one["ask"]["wall_seconds"]
        yield Mark(name, round(times, 2), "≤", CLIENTS)


def orchestration(cells: Any) -> Iterator[Mark]:
    """Of many batches in one process, without what the emulated services' processors took."""
    for cell in cells:
        if cell["batches"] == MANY and cell["executor"] == "in_process":
            own = round(cell["overhead"] - cell["overhead_of_servers"], 1)
            yield Mark(f"orchestration of {MANY}, seconds without the servers' own", own, "≤", ORCHESTRATION)
